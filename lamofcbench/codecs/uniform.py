"""`uniform`: one step a tensor name, entropy coded. The baseline that a codec has to beat first."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lamofcbench.codecs import integers
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.calibration import as_float32, measure, quantiser_step
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, least_bytes
from lamofcbench.codecs.quantising import Quantiser
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet


@dataclass(frozen=True)
class UniformParams:
    """Parameters of `UniformCodec`.

    Attributes:
        step: the quantiser's step in units of the tensor name's calibrated standard deviation.
    """

    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1


class UniformCodec(Codec):
    """Rounds each value to a multiple of its tensor name's step and codes the integer with a calibrated table.

    The error of a value is at most half a step, before the cast to the stored dtype, however large the value.
    """

    Params = UniformParams
    rate_points = tuple({"step": step} for step in (0.05, 0.35, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0))
    needs_calibration = True
    revision = 2
    paper = "https://doi.org/10.1109/18.720541"  # Gray and Neuhoff, Quantization

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """Steps, float64 ``[tensors]``, and token frequencies, int32 ``[tensors, tokens]``."""
        moments = measure(calibration, self.specs, {spec.name: () for spec in self.specs.tensors})
        steps = np.array([quantiser_step(self.params.step, m.std.item(), m.mean.item()) for m in moments.values()])
        counts = np.zeros((len(steps), integers.ALPHABET), np.int64)
        for features in calibration:
            for row, (tensor, step) in enumerate(zip(features.tensors.values(), steps, strict=True)):
                tokens = Quantiser.plain(step).tokens(as_float32(tensor).reshape(1, -1))
                counts[row] += integers.count_tokens(tokens.symbols)
        spreads = [m.std.item() / step for m, step in zip(moments.values(), steps, strict=True)]
        tables = [integers.learned_frequencies(row, spread) for row, spread in zip(counts, spreads, strict=True)]
        return {"steps": torch.from_numpy(steps), "frequencies": torch.from_numpy(np.stack(tables))}

    def check_state(self) -> None:
        """Each tensor has a finite positive step and a table."""
        steps = self._steps
        if steps.shape != (len(self.specs.tensors),) or not np.isfinite(steps).all() or not (steps > 0).all():
            raise CodecError(f"codec {self.name!r} has no positive step for each tensor")
        if len(self._tables) != len(steps):
            raise CodecError(f"codec {self.name!r} has {len(self._tables)} tables for {len(steps)} tensors")

    def _prepare(self) -> None:
        super()._prepare()
        _ = self._steps, self._tables

    @functools.cached_property
    def _steps(self) -> NDArray[np.float64]:
        return self.state["steps"].to(torch.float64).numpy()

    @functools.cached_property
    def _tables(self) -> list[FrequencyTable]:
        return [integers.table(row) for row in self.state["frequencies"].to(torch.int32).numpy()]

    def encode_features(self, features: FeatureSet) -> bytes:
        """The tokens of all tensors in one stream."""
        encoder = SymbolEncoder(self._least_bytes(tensor.shape for tensor in features.tensors.values()))
        for tensor, step, table in zip(features.tensors.values(), self._steps, self._tables, strict=True):
            tokens = Quantiser.plain(step).tokens(as_float32(tensor).reshape(1, -1))
            encoder.put(tokens.symbols, table)
            tokens.put_extras(encoder)
        return encoder.finish()

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """Multiples of the steps."""
        decoder = SymbolDecoder(payload, self._least_bytes(shapes.values()))
        tensors = {}
        for (name, shape), step, table in zip(shapes.items(), self._steps, self._tables, strict=True):
            symbols = decoder.take(math.prod(shape), table).reshape(1, -1)
            tensors[name] = torch.from_numpy(Quantiser.plain(step).values(symbols, decoder).reshape(shape))
        decoder.finish()
        return tensors

    def _least_bytes(self, shapes: Iterable[Sequence[int]]) -> int:
        return least_bytes(sum(math.prod(s) * t.least_cost for s, t in zip(shapes, self._tables, strict=True)))
