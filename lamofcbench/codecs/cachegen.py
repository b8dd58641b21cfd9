"""`cachegen`: anchor tokens, and what the tokens near them differ by, in bins that widen with depth."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lamofcbench.codecs import integers
from lamofcbench.codecs.caches import companion
from lamofcbench.codecs.caches.anchors import AnchoredRows, AnchorMoments, Steps
from lamofcbench.codecs.caches.base import CacheCodec, Shapes
from lamofcbench.codecs.caches.channel_tables import ChannelCounts, ChannelTables
from lamofcbench.codecs.caches.tokens import is_of_tokens, stored_rows, token_groups
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, least_bytes
from lamofcbench.codecs.transform.classes import classes_of
from lamofcbench.codecs.transform.profiles import rows_of
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet

G = TypeVar("G", bound="CachegenCodec")

DEPTHS = 3
"""Into how many parts layers fall, the first of which has the narrowest bins, the next twice and thrice these."""
ANCHOR_RANGE = 16.0
"""What the levels of an anchor span, in median deviations of its channels; values beyond cost more, and are not cut."""


@dataclass(frozen=True)
class CachegenParams:
    """Parameters of `CachegenCodec`.

    Attributes:
        bin: of deltas in the first third of layers, in units of their median channel's deviation in that layer. The
            paper's bins for the three parts are 0.5, 1 and 1.5.
        group: how many neighbouring tokens share an anchor; 10 is the paper's.
        anchor_bits: of the levels of anchors; 8 is the paper's.
    """

    bin: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    group: Annotated[int, Field(ge=2, le=65536)] = 10
    anchor_bits: Annotated[int, Field(ge=2, le=16)] = 8


class CachegenCodec(CacheCodec):
    """Codes the first token of each group of ten finely, and the others by what they differ from it, in coarser bins.

    Neighbouring tokens are alike in the same layer and channel, and what a layer loses matters less the deeper it is.
    So deltas have bins of one, two and three widths in the first, middle and last third of layers (of the tensors of
    one role), and each channel of each layer has a calibrated table for its anchors and one for its deltas. Keys come
    as caches hold them, after rotary embedding.

    Where this differs from the paper: tables are calibrated, not sent with each chunk; channels share a table where
    their deviation over the bin falls into the same quarter octave, so that few samples suffice, and all that hardly
    ever leave zero share one, in which zeros cost next to nothing; bins are measured against a layer's median channel,
    so that a few massive ones do not decide them; levels of anchors span sixteen such deviations around calibrated
    means, the same in all tokens; first tokens, which are attention sinks, have means and tables of their own; one
    level serves a whole sample, where the paper chooses one for each chunk by bandwidth.

    Hidden states and embeddings are coded by the same rule. What holds no tokens of at least 16 channels (states,
    latents, pooled vectors) is coded by `ChannelCodec`, with the middle layers' bin as its step.
    """

    Params = CachegenParams
    rate_points = tuple({"bin": width} for width in (0.02, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0))
    revision = 2
    paper = "https://arxiv.org/abs/2310.07240"

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """Means, steps and table numbers of each tensor, the tables, and what `channel` learns of the rest."""
        moments = [AnchorMoments(group.width) for group in self._groups]
        for features in calibration:
            for moment, group in zip(moments, self._groups, strict=True):
                moment.add(group.gather(features), self.params.group)
        steps, anchor_classes, delta_classes = [], [], []
        for moment, depth in zip(moments, self._depths, strict=True):
            anchor, delta = moment.anchor_deviations(), moment.delta_deviations()
            anchor_step = ANCHOR_RANGE * _median(anchor) / 2**self.params.anchor_bits
            steps.append(Steps(anchor_step, self.params.bin * depth * _median(delta)))
            anchor_classes.append(classes_of(anchor, steps[-1].anchor))
            delta_classes.append(classes_of(delta, steps[-1].delta))
        counts = ChannelCounts([*anchor_classes, *delta_classes])
        state: dict[str, Tensor] = {}
        for index, moment in enumerate(moments):
            state[f"{index}.means"] = torch.from_numpy(moment.means().astype(np.float32))
            state[f"{index}.anchor_tables"] = torch.from_numpy(counts.numbers(anchor_classes[index]))
            state[f"{index}.delta_tables"] = torch.from_numpy(counts.numbers(delta_classes[index]))
        state["steps"] = torch.tensor(steps, dtype=torch.float64).reshape(-1, 2)
        coders = self._coders(state, [])
        for features in calibration:
            for coder, group in zip(coders, self._groups, strict=True):
                coder.count(group.gather(features), counts)
        state["frequencies"] = torch.from_numpy(counts.frequencies())
        return state | companion.learn(self.others, calibration, 2 * self.params.bin)

    def check_state(self) -> None:
        """Each tensor has positive steps, finite means and a table for each channel, and the rest what it needs."""
        steps = self.state["steps"]
        if steps.shape != (len(self._groups), 2) or not torch.isfinite(steps).all() or not (steps > 0).all():
            raise CodecError(f"codec {self.name!r} has no positive steps for each tensor")
        for index, group in enumerate(self._groups):
            means, anchors, deltas = (self.state[f"{index}.{n}"] for n in ("means", "anchor_tables", "delta_tables"))
            fitting = (
                means.shape == anchors.shape == (2, group.width)
                and deltas.shape == (group.width,)
                and anchors.dtype == deltas.dtype == torch.int16
                and bool(torch.isfinite(means).all())
            )
            numbers = torch.cat([anchors.reshape(-1), deltas]) if fitting else None
            if numbers is None or not 0 <= int(numbers.min()) <= int(numbers.max()) < len(self._tables):
                raise CodecError(f"codec {self.name!r} has no mean and table for each channel of tensor {index}")
        _ = self.channel

    def continuing(self: G, first_position: int) -> G:
        """No row counts as the first of a sequence, which has means and tables of its own."""
        codec = super().continuing(first_position)
        if codec is not self:
            codec._anchored = [replace(coder, inner=first_position > 0) for coder in self._anchored]
        return codec

    def _prepare(self) -> None:
        super()._prepare()
        _ = self._anchored, self.channel

    @functools.cached_property
    def _groups(self) -> list[RowGroup]:
        return [stored_rows(spec) for spec in self.specs.tensors if is_of_tokens(spec)]

    @functools.cached_property
    def _depths(self) -> list[int]:
        """How many times the narrowest bin each tensor has: one to three, by its place among its role's tensors."""
        depths = {}
        for group in token_groups(self.specs):
            for place, spec in enumerate(group.specs):
                depths[spec.name] = 1 + place * DEPTHS // len(group.specs)
        return [depths[group.specs[0].name] for group in self._groups]

    @functools.cached_property
    def _tables(self) -> list[FrequencyTable]:
        return [integers.table(row) for row in self.state["frequencies"].to(torch.int32).numpy()]

    @functools.cached_property
    def _anchored(self) -> list[AnchoredRows]:
        return self._coders(self.state, self._tables)

    def _coders(self, state: Mapping[str, Tensor], tables: list[FrequencyTable]) -> list[AnchoredRows]:
        return [
            AnchoredRows(
                self.params.group,
                Steps(*state["steps"][index].tolist()),
                state[f"{index}.means"].double().numpy(),
                [ChannelTables(numbers, tables) for numbers in state[f"{index}.anchor_tables"].numpy()],
                ChannelTables(state[f"{index}.delta_tables"].numpy(), tables),
            )
            for index in range(len(self._groups))
        ]

    def encode_features(self, features: FeatureSet) -> bytes:
        """Tensor by tensor anchors, then deltas; then the rest."""
        encoder = SymbolEncoder(self._least_bytes({n: tuple(t.shape) for n, t in features.tensors.items()}))
        for coder, group in zip(self._anchored, self._groups, strict=True):
            coder.put(encoder, group.gather(features))
        self.put_others(encoder, features)
        return encoder.finish()

    def decode_features(self, payload: bytes, shapes: Shapes) -> Mapping[str, Tensor]:
        """Anchors, and anchors plus deltas."""
        decoder = SymbolDecoder(payload, self._least_bytes(shapes))
        tensors: dict[str, Tensor] = {}
        for coder, group in zip(self._anchored, self._groups, strict=True):
            tensors |= group.scatter(coder.take(decoder, rows_of(group.row_shape(shapes))), shapes)
        tensors |= self.take_others(decoder, shapes)
        decoder.finish()
        return {name: tensors[name] for name in shapes}

    def _least_bytes(self, shapes: Shapes) -> int:
        cost = self.least_cost_of_others(shapes)
        for coder, group in zip(self._anchored, self._groups, strict=True):
            cost += coder.least_cost(rows_of(group.row_shape(shapes)))
        return least_bytes(cost)


def _median(deviations: NDArray[np.float64]) -> float:
    """Over values that vary; 1 where none does."""
    varying = deviations[deviations > 0]
    return float(np.median(varying)) if varying.size else 1.0
