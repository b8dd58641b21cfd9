"""`channel`: statistics for each channel, one common step for all of them, entropy coded."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lamofcbench.codecs import integers
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.calibration import Moments, as_float32, channel_dims, measure, quantiser_step
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, TableStack, least_bytes
from lamofcbench.codecs.quantising import Quantiser
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import TensorSpec

CLASSES_AN_OCTAVE = 4
LOWEST_CLASS = -6 * CLASSES_AN_OCTAVE
HIGHEST_CLASS = 20 * CLASSES_AN_OCTAVE
SHRINKAGE = 2.0
"""How many observations the typical variance is worth in the estimate of a channel's."""


@dataclass(frozen=True)
class ChannelParams:
    """Parameters of `ChannelCodec`.

    Attributes:
        step: the quantiser's step in units of the calibrated standard deviation's median over channels that vary.
    """

    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.3


class ChannelCodec(Codec):
    """Subtracts each channel's calibrated mean and rounds what is left to a multiple of the tensor name's common step.

    The step is the same for all channels of a tensor in the feature's own domain, which for independent channels is
    optimal in squared error: a channel that deviates less than the step costs next to nothing, one that deviates more
    costs its logarithm (reverse water-filling). It is measured against the median channel, so that a few channels of
    massive activations decide neither the step nor, through it, what becomes of the others. On the mini scenarios a
    common step also scores as well as or better, at equal rate, than steps in proportion to each channel's deviation.

    The table of a channel depends on its standard deviation over the step alone, in classes of a quarter octave that
    all tensors share.
    """

    Params = ChannelParams
    rate_points = tuple({"step": step} for step in (0.05, 0.35, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0))
    needs_calibration = True
    revision = 2
    paper = "https://doi.org/10.1002/047174882X"  # Cover and Thomas, section 10.3.3, parallel Gaussian sources

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """Steps and frequencies, and for each tensor its channels' means and table numbers."""
        moments = measure(calibration, self.specs, {spec.name: channel_dims(spec) for spec in self.specs.tensors})
        state: dict[str, Tensor] = {}
        steps, classes = [], []
        for name, moment in moments.items():
            deviations = _channel_deviations(moment)
            steps.append(quantiser_step(self.params.step, _median(deviations[deviations > 0])))
            classes.append(_classes(deviations, steps[-1]))
            state[f"mean.{name}"] = torch.from_numpy(moment.mean.reshape(-1)).to(torch.float32)
        used = np.unique(np.concatenate(classes))
        for name, values in zip(moments, classes, strict=True):
            state[f"table.{name}"] = torch.from_numpy(np.searchsorted(used, values).astype(np.int32))
        counts = np.zeros((len(used), integers.ALPHABET), np.int64)
        for features in calibration:
            for step, (name, tensor) in zip(steps, features.tensors.items(), strict=True):
                channels = _Channels(self.specs[name], state[f"mean.{name}"], state[f"table.{name}"])
                tokens = channels.quantise(tensor, step / _unseen_factor(moments[name].count))
                for table, segment in channels.segments(tokens.symbols):
                    counts[table] += integers.count_tokens(segment)
        spreads = 2.0 ** (used / CLASSES_AN_OCTAVE)
        tables = [integers.learned_frequencies(row, spread) for row, spread in zip(counts, spreads, strict=True)]
        return {
            **state,
            "steps": torch.tensor(steps, dtype=torch.float64),
            "frequencies": torch.from_numpy(np.array(tables, np.int32).reshape(-1, integers.ALPHABET)),
        }

    def check_state(self) -> None:
        """Each tensor has a finite positive step, and each of its channels a finite mean and a table."""
        steps = self.state["steps"]
        if steps.shape != (len(self.specs.tensors),) or not torch.isfinite(steps).all() or not (steps > 0).all():
            raise CodecError(f"codec {self.name!r} has no positive step for each tensor")
        for spec in self.specs.tensors:
            mean, table = self.state[f"mean.{spec.name}"], self.state[f"table.{spec.name}"]
            fitting = mean.shape == table.shape == (_channel_count(spec),) and bool(torch.isfinite(mean).all())
            if not fitting or (len(table) and not 0 <= int(table.min()) <= int(table.max()) < len(self._tables)):
                raise CodecError(f"codec {self.name!r} has no mean and table for each channel of tensor {spec.name!r}")

    def _prepare(self) -> None:
        super()._prepare()
        _ = self._stack, self._least_cost_of_a_row

    @functools.cached_property
    def _tables(self) -> list[FrequencyTable]:
        return [integers.table(row) for row in self.state["frequencies"].to(torch.int32).numpy()]

    @functools.cached_property
    def _stack(self) -> TableStack:
        return TableStack(self._tables)

    @functools.cached_property
    def _channels(self) -> dict[str, tuple[float, _Channels]]:
        return {
            spec.name: (step, _Channels(spec, self.state[f"mean.{spec.name}"], self.state[f"table.{spec.name}"]))
            for spec, step in zip(self.specs.tensors, self.state["steps"].tolist(), strict=True)
        }

    def encode_features(self, features: FeatureSet) -> bytes:
        """The tokens of all tensors in one stream, tensor by tensor and table by table."""
        encoder = SymbolEncoder(self._least_bytes({n: tuple(t.shape) for n, t in features.tensors.items()}))
        self.put(encoder, features)
        return encoder.finish()

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """Channel means plus multiples of the steps."""
        decoder = SymbolDecoder(payload, self._least_bytes(shapes))
        tensors = self.take(decoder, shapes)
        decoder.finish()
        return tensors

    def put(self, encoder: SymbolEncoder, features: FeatureSet) -> None:
        """Appends the tensors of these specs to a stream that may hold more, for codecs that leave some to this one."""
        for name, (step, channels) in self._channels.items():
            tokens = channels.quantise(features[name], step)
            encoder.put_indexed(tokens.symbols, channels.numbers, self._stack)
            tokens.put_extras(encoder)

    def take(self, decoder: SymbolDecoder, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """The tensors that `put` appended."""
        tensors = {}
        for name, (step, channels) in self._channels.items():
            layout = channels.layout(shapes[name])
            symbols = decoder.take_indexed(channels.numbers, self._stack, each=layout[1]).reshape(layout)
            tensors[name] = channels.tensor(channels.quantiser(step).values(symbols, decoder), shapes[name])
        return tensors

    @functools.cached_property
    def _least_cost_of_a_row(self) -> dict[str, int]:
        """What one value of each channel costs at the least, summed over the channels of each tensor."""
        return {
            name: sum(channels * self._tables[table].least_cost for table, channels in layout.table_sizes())
            for name, (_, layout) in self._channels.items()
        }

    def least_cost(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """What the symbols of tensors of these shapes cost at the least, for `least_bytes`."""
        rows = {name: channels.layout(shapes[name])[1] for name, (_, channels) in self._channels.items()}
        return sum(rows[name] * cost for name, cost in self._least_cost_of_a_row.items())

    def _least_bytes(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        return least_bytes(self.least_cost(shapes))


class _Channels:
    """A tensor as ``[channels, rows]``, channels of the same table side by side."""

    def __init__(self, spec: TensorSpec, mean: Tensor, table: Tensor) -> None:
        kept = channel_dims(spec)
        self._permutation = (*kept, *(d for d in range(len(spec.shape)) if d not in kept))
        self._kept = kept
        numbers = table.to(torch.int64).numpy()
        self._order = np.argsort(numbers, kind="stable")
        self._inverse = np.argsort(self._permutation).tolist()
        self._means = mean.double().numpy()
        self.numbers = numbers[self._order].astype(np.int16)
        """The table of each channel, in the order in which channels are coded."""
        starts = np.flatnonzero(np.diff(self.numbers, prepend=-1))
        ends = np.append(starts, len(numbers))[1:].tolist()
        self._runs = [(int(self.numbers[s]), slice(s, e)) for s, e in zip(starts.tolist(), ends, strict=True)]

    def layout(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Channels and rows of a tensor of this shape."""
        channels = math.prod(shape[d] for d in self._kept)
        return channels, math.prod(shape[d] for d in self._permutation[len(self._kept) :])

    def table_sizes(self) -> Iterator[tuple[int, int]]:
        """Each table number with how many channels have it."""
        for table, run in self._runs:
            yield table, run.stop - run.start

    def segments(self, array: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Each table number with its part of ``[channels, rows]``."""
        for table, run in self._runs:
            yield table, array[run]

    def quantiser(self, step: float) -> Quantiser:
        """What makes tokens of ``[channels, rows]``."""
        return Quantiser(step, self._means, self._order)

    def quantise(self, tensor: Tensor, step: float) -> integers.Tokens:
        """The tokens, ``[channels, rows]``, channels of the same table side by side."""
        by_channel = tensor.permute(self._permutation).reshape(self.layout(tuple(tensor.shape)))
        return self.quantiser(step).tokens(as_float32(by_channel))

    def tensor(self, values: NDArray[np.float32], shape: tuple[int, ...]) -> Tensor:
        """The tensor whose values these are, ``[channels, rows]``."""
        return torch.from_numpy(values).reshape([shape[d] for d in self._permutation]).permute(self._inverse)


def _channel_count(spec: TensorSpec) -> int:
    sizes = [spec.shape[d] for d in channel_dims(spec)]
    return math.prod(size for size in sizes if isinstance(size, int))


def _channel_deviations(moment: Moments) -> NDArray[np.float64]:
    """The standard deviation from the mean of each channel, drawn to the typical one where observations are few."""
    variances = np.square(moment.std.reshape(-1) * _unseen_factor(moment.count))
    return np.sqrt((moment.count * variances + SHRINKAGE * _median(variances)) / (moment.count + SHRINKAGE))


def _unseen_factor(count: int) -> float:
    """How much further unseen values lie from a mean of so many observations than the observations themselves."""
    return count / (count - 1) if count > 1 else 2.0


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if values.size else 0.0


def _classes(deviations: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    with np.errstate(divide="ignore"):
        octaves = np.log2(deviations / step)
    return np.rint(np.clip(octaves * CLASSES_AN_OCTAVE, LOWEST_CLASS, HIGHEST_CLASS)).astype(np.int64)
