"""`kvtc`: principal components of all layers and heads of a token, bits by measured error; DEFLATE or entropy coded."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lamofcbench.codecs.caches import companion, deflate, exact
from lamofcbench.codecs.caches.allocation import INTEGER_BITS, allocate
from lamofcbench.codecs.caches.base import CacheCodec, Shapes
from lamofcbench.codecs.caches.block import Block
from lamofcbench.codecs.caches.components import Components, fit_components
from lamofcbench.codecs.caches.exact_tables import ExactTables, Token, learned_exact_tables, token_of
from lamofcbench.codecs.caches.plan import CodedRows, Plan
from lamofcbench.codecs.caches.tables import PlanTables, learned_tables
from lamofcbench.codecs.caches.tokens import token_groups
from lamofcbench.codecs.entropy import SymbolDecoder, SymbolEncoder, least_bytes
from lamofcbench.codecs.groups.bit_packing import pack_bits, packed_bytes, unpack_bits
from lamofcbench.codecs.transform.profiles import rows_of
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.features import FeatureSet

K = TypeVar("K", bound="KvtcCodec")

PAPER_SETTING = {"sinks": 4, "window": 128, "exact_sinks": True, "scaled": False}
"""What the paper does with sinks, recent tokens and layers; its ratios are 8, 16, 32 and 64."""


@dataclass(frozen=True)
class KvtcParams:
    """Parameters of `KvtcCodec`.

    The paper's setting is ``sinks=4,window=128,exact_sinks=true,scaled=false``, for prompts of thousands of tokens.

    Attributes:
        ratio: into one part in how many of their stored bits the tokens are quantised, before DEFLATE or entropy
            coding; the paper has 8, 16, 32 and 64.
        sinks: how many first tokens have means of their own, which takes most of a sink away at no rate.
        window: how many of the most recent tokens of keys and values stay as they are. The default of 0 quantises all,
            since prompts of fewer than the paper's 128 would else not be quantised at all.
        exact_sinks: True where the first tokens of keys and values stay as they are, and are left out of calibration,
            as in the paper. In prompts of a hundred tokens, its four would cost more than all others.
        scaled: True where the tensors of a role are scaled to equal deviation before components are found. The paper
            does not: then a layer whose values are small, as those of first layers often are, is not coded at all.
    """

    ratio: Annotated[float, Field(ge=1, le=2**16)] = 16.0
    sinks: Annotated[int, Field(ge=0, le=1024)] = 4
    window: Annotated[int, Field(ge=0)] = 0
    exact_sinks: bool = False
    scaled: bool = True


class KvtcCodec(CacheCodec):
    """Quantises principal components of tokens, over all layers and heads, and compresses the codes with DEFLATE.

    Keys of all layers and heads of a token make one vector, values another, keys as they were before their rotary
    embedding where the specs state its base. Calibration gives each a mean and principal components, and dynamic
    programming gives groups of 1 to 1024 neighbouring components the type, none, 2 or 4 bits between the group's least
    and largest value in that token, or eight-bit floats, that has the least measured error within the budget.

    Faithful to the paper are the joint vectors, the rotary embedding undone, types, costs and objective. What differs:
    errors are measured on rows that the components were not fitted to; groups have at most the paper's sizes and are
    cut at multiples of 16 components, larger ones at multiples of a quarter of their size, single components only
    among the first 16; floats have a calibrated power of two as unit,
    since coefficients here span more than their range; up to 2048 columns the decomposition is exact, beyond it is
    randomised as in the paper and keeps at most 2048 components; layers are scaled to equal deviation, sinks are
    centred and coded, and no window is kept, unless parameters ask for the paper's setting; DEFLATE is zlib's and runs
    over a whole sample.

    Hidden states and embeddings, of which the paper says nothing, are coded by the same rule, each role by itself. What
    holds no tokens of at least 16 channels (states, latents, pooled vectors) is coded by `ChannelCodec`, with the step
    at which Gaussian channels would take one part in ``ratio`` of the stored bits.

    Eight-bit floats reach three to four octaves beyond the largest coefficient of calibration, and clip what lies
    further out.
    """

    Params = KvtcParams
    rate_points = tuple({"ratio": float(ratio)} for ratio in (2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512))
    paper = "https://arxiv.org/abs/2511.01815"

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """A block for each role, and what `channel` learns of the rest."""
        return self._learn(calibration)[0]

    def check_state(self) -> None:
        """Each group of tensors has a block that fits, and the rest what `channel` needs."""
        _ = self._blocks, self.channel

    def continuing(self: K, first_position: int) -> K:
        """Keys are turned back from where they stand, and first tokens are those of the whole sequence."""
        codec = super().continuing(first_position)
        if codec is not self:
            codec._blocks = [block.continuing(first_position) for block in self._blocks]
        return codec

    def _prepare(self) -> None:
        super()._prepare()
        _ = self._blocks, self.channel

    def _learn(self, calibration: Iterable[FeatureSet]) -> tuple[dict[str, Tensor], list[tuple[Plan, Components]]]:
        step = companion.step_for_ratio(self.others, calibration, self.params.ratio)
        state = companion.learn(self.others, calibration, step)
        fitted = []
        for index, group in enumerate(self._groups):
            skipped = self.params.sinks if self.params.exact_sinks and exact.can_be_exact(group) else 0
            widths = {name: columns.stop - columns.start for name, columns in group.columns.items()}
            budget = sum(spec.bits * widths[spec.name] for spec in group.specs) / self.params.ratio
            rank = int(budget) // min(INTEGER_BITS) + 1
            found = fit_components(
                group, calibration, sinks=self.params.sinks, skipped=skipped, scaled=self.params.scaled, rank=rank
            )
            plan = Plan(tuple(allocate(found.coefficients, budget)))
            block = Block(
                group,
                plan,
                means=torch.from_numpy(found.means),
                units=torch.from_numpy(found.units),
                basis=torch.from_numpy(found.basis[: plan.components]).half(),
            )
            state |= block.state(index)
            fitted.append((plan, found))
        return state, fitted

    @functools.cached_property
    def _groups(self) -> list[RowGroup]:
        return token_groups(self.specs)

    @functools.cached_property
    def _blocks(self) -> list[Block]:
        return [Block.from_state(g, i, self.params.sinks, self.state) for i, g in enumerate(self._groups)]

    def _spans(self, shapes: Shapes) -> Iterator[tuple[Block, int, slice]]:
        """Each block, how many rows it has, and which of them are quantised."""
        for block in self._blocks:
            rows = rows_of(block.group.row_shape(shapes))
            yield block, rows, self._kept(block.group, rows)

    def _kept(self, group: RowGroup, rows: int) -> slice:
        """Which of a sample's rows are quantised."""
        if not exact.can_be_exact(group):
            return slice(0, rows)
        sinks = max(self.params.sinks - self.first_position, 0)
        first = min(sinks, rows) if self.params.exact_sinks else 0
        return slice(first, max(rows - self.params.window, first))

    # -------------------------------------------------------------------------------------------------------- DEFLATE

    def encode_features(self, features: FeatureSet) -> bytes:
        """Scales, packed codes and exact tokens of all groups in one DEFLATE stream; behind it the rest."""
        data = []
        for block, rows, kept in self._spans(_shapes_of(features)):
            coded = block.encode(block.group.gather(features), kept)
            data += [coded.steps.astype("<f2").tobytes(), coded.lows.astype("<f2").tobytes()]
            data += [pack_bits(np.ascontiguousarray(coded.codes[:, s]), part.bits) for s, part in block.plan.spans]
            data.append(_words_outside(block.group, features, rows, kept).tobytes())
        encoder = SymbolEncoder(least_bytes(self.least_cost_of_others(_shapes_of(features))))
        self.put_others(encoder, features)
        return deflate.compress(b"".join(data), short=self.first_position > 0) + encoder.finish()

    def decode_features(self, payload: bytes, shapes: Shapes) -> Mapping[str, Tensor]:
        """Components transformed back."""
        sizes = [_section_sizes(block, rows, kept, shapes) for block, rows, kept in self._spans(shapes)]
        data, rest = deflate.decompress(payload, sum(map(sum, sizes)))
        tensors: dict[str, Tensor] = {}
        start = 0
        for (block, rows, kept), of_block in zip(self._spans(shapes), sizes, strict=True):
            ends = start + np.cumsum([0, *of_block])
            steps, lows, *codes, words = (data[a:b] for a, b in itertools.pairwise(ends))
            start = int(ends[-1])
            count, groups = kept.stop - kept.start, block.plan.integer_groups
            spans = block.plan.spans
            unpacked = [
                unpack_bits(part, count * (s.stop - s.start), of.bits).reshape(count, s.stop - s.start)
                for part, (s, of) in zip(codes, spans, strict=True)
            ]
            coded = CodedRows(
                np.frombuffer(steps, "<f2").reshape(count, groups),
                np.frombuffer(lows, "<f2").reshape(count, groups),
                np.concatenate([np.zeros((count, 0), np.uint8), *unpacked], axis=1),
            )
            tensors |= _restored(block, coded, rows, kept, np.frombuffer(words, "<u2"), shapes)
        decoder = SymbolDecoder(rest, least_bytes(self.least_cost_of_others(shapes)))
        tensors |= self.take_others(decoder, shapes)
        decoder.finish()
        return {name: tensors[name] for name in shapes}


class KvtcEntropyCodec(KvtcCodec):
    """The values of `KvtcCodec`, its codes and scales entropy coded with calibrated tables in place of DEFLATE.

    A table for each component, and for the upper bytes of each group's steps and low ends; first tokens have tables of
    their own. Where tokens stay as they are, each tensor has a table for the upper bytes of these. Lower bytes of
    scales and exact tokens follow as plain bits.
    """

    name = "kvtc-entropy"
    revision = 2

    def learn(self, calibration: Iterable[FeatureSet]) -> Mapping[str, Tensor]:
        """The same, and tables counted on rows that the components were not fitted to."""
        state, fitted = self._learn(calibration)
        for index, (plan, found) in enumerate(fitted):
            coded = plan.encode(found.coefficients[:, : plan.components])
            state |= learned_tables(plan, index, coded, found.first)
        for index, (group, token) in enumerate(zip(self._groups, self._exact_tokens, strict=True)):
            state |= learned_exact_tables(token, index, self._exact_words(group, calibration))
        return state

    def check_state(self) -> None:
        """The same, and each group has its tables."""
        super().check_state()
        _ = self._tables, self._exact_tables

    def _prepare(self) -> None:
        super()._prepare()
        _ = self._tables, self._exact_tables

    def _exact_words(self, group: RowGroup, calibration: Iterable[FeatureSet]) -> Iterator[NDArray[np.uint16]]:
        for features in calibration:
            rows = rows_of(group.row_shape(_shapes_of(features)))
            yield _words_outside(group, features, rows, self._kept(group, rows))

    @functools.cached_property
    def _exact_tokens(self) -> list[Token]:
        """What a token of each group holds; nothing where none stays as it is."""
        some = self.params.window or (self.params.exact_sinks and self.params.sinks)
        return [token_of(group) if some and exact.can_be_exact(group) else () for group in self._groups]

    @functools.cached_property
    def _tables(self) -> list[PlanTables]:
        return [PlanTables.from_state(block.plan, i, self.state) for i, block in enumerate(self._blocks)]

    @functools.cached_property
    def _exact_tables(self) -> list[ExactTables]:
        return [ExactTables.from_state(token, i, self.state) for i, token in enumerate(self._exact_tokens)]

    def _coders(self, shapes: Shapes) -> Iterator[tuple[PlanTables, ExactTables, Block, int, slice]]:
        """Each block with its tables, how many rows it has, and which of them are quantised."""
        for tables, of_exact, span in zip(self._tables, self._exact_tables, self._spans(shapes), strict=True):
            yield tables, of_exact, *span

    def encode_features(self, features: FeatureSet) -> bytes:
        """Scales, codes and exact tokens of each group, and the rest, in one stream."""
        encoder = SymbolEncoder(self._least_bytes(_shapes_of(features)))
        for tables, of_exact, block, rows, kept in self._coders(_shapes_of(features)):
            tables.put(encoder, block.encode(block.group.gather(features), kept), starts=self._starts(kept))
            of_exact.put(encoder, _words_outside(block.group, features, rows, kept), _count_outside(rows, kept))
        self.put_others(encoder, features)
        return encoder.finish()

    def decode_features(self, payload: bytes, shapes: Shapes) -> Mapping[str, Tensor]:
        """Components transformed back."""
        decoder = SymbolDecoder(payload, self._least_bytes(shapes))
        tensors: dict[str, Tensor] = {}
        for tables, of_exact, block, rows, kept in self._coders(shapes):
            coded = tables.take(decoder, kept.stop - kept.start, starts=self._starts(kept))
            words = of_exact.take(decoder, _count_outside(rows, kept))
            tensors |= _restored(block, coded, rows, kept, words, shapes)
        tensors |= self.take_others(decoder, shapes)
        decoder.finish()
        return {name: tensors[name] for name in shapes}

    def _least_bytes(self, shapes: Shapes) -> int:
        cost = self.least_cost_of_others(shapes)
        for tables, of_exact, _, rows, kept in self._coders(shapes):
            cost += tables.least_cost(kept.stop - kept.start, starts=self._starts(kept))
            cost += of_exact.least_cost(_count_outside(rows, kept))
        return least_bytes(cost)

    def _starts(self, kept: slice) -> bool:
        return kept.start == 0 and not self.first_position


def _shapes_of(features: FeatureSet) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in features.tensors.items()}


def _outside(rows: int, kept: slice) -> NDArray[np.intp]:
    """The rows that are not quantised."""
    return np.concatenate([np.arange(kept.start), np.arange(kept.stop, rows)])


def _count_outside(rows: int, kept: slice) -> int:
    return rows - (kept.stop - kept.start)


def _words_outside(group: RowGroup, features: FeatureSet, rows: int, kept: slice) -> NDArray[np.uint16]:
    outside = _outside(rows, kept)
    return exact.words_of(group, features, outside) if len(outside) else np.zeros(0, np.uint16)


def _section_sizes(block: Block, rows: int, kept: slice, shapes: Shapes) -> list[int]:
    """Bytes of steps, low ends, the codes of each group of components, and exact tokens."""
    count, plan = kept.stop - kept.start, block.plan
    codes = [packed_bytes(count * (span.stop - span.start), part.bits) for span, part in plan.spans]
    outside = _count_outside(rows, kept)
    words = exact.word_count(block.group, shapes, outside) if outside else 0
    return [*[2 * count * plan.integer_groups] * 2, *codes, 2 * words]


def _restored(
    block: Block, coded: CodedRows, rows: int, kept: slice, words: NDArray[np.uint16], shapes: Shapes
) -> dict[str, Tensor]:
    """The tensors of one block."""
    tensors = block.group.scatter(block.decode(coded, rows, kept), shapes)
    return exact.put_back(block.group, tensors, words, _outside(rows, kept)) if len(words) else tensors
