"""`klt`: joint transform coding of all tensors that describe the same token, patch or place."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from torch import Tensor

from lamofcbench.codecs import integers
from lamofcbench.codecs.base import CalibrationSamples, Codec
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, TableStack, least_bytes
from lamofcbench.codecs.transform.block_state import BlockState
from lamofcbench.codecs.transform.blocks import Block
from lamofcbench.codecs.transform.classes import HIGHEST, LOWEST, MAGNITUDES
from lamofcbench.codecs.transform.familiarity import Familiarity, Rule, most_familiar, together
from lamofcbench.codecs.transform.fitting import Fitted, Part, block_state, fit_groups
from lamofcbench.codecs.transform.ingredients import EVERYTHING, Ingredients
from lamofcbench.codecs.transform.levels import (
    COUNT,
    REACH,
    SHIFTS,
    USUAL,
    Costs,
    Levels,
    level_frequencies,
    levels_table,
    put_foreign,
    take_foreign,
)
from lamofcbench.codecs.transform.numbered import SPARE_VALUES, Numbered, chosen_levels, counted
from lamofcbench.codecs.transform.outliers import Outliers
from lamofcbench.codecs.transform.profiles import rows_of
from lamofcbench.codecs.transform.rounding import put_rows, require_range, take_rows
from lamofcbench.codecs.transform.rows import RowGroup, row_groups
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]
K = TypeVar("K", bound="KltCodec")
LEAST_STEP, LARGEST_STEP = 1e-30, 1e30
"""Single precision has room for finer steps than the least, and for many of the largest."""


def _in_range(step: float) -> float:
    if not LEAST_STEP <= step <= LARGEST_STEP:
        raise ValueError(f"a step from {LEAST_STEP:g} to {LARGEST_STEP:g} is needed")
    return step


@dataclass(frozen=True)
class KltParams:
    """Parameters of `KltCodec`.

    Attributes:
        step: the quantiser's step, in units of a tensor's root mean square deviation from what is expected of its rows.
        rank: the most directions that the transform of a group of tensors keeps, which bounds the state; None for as
            many as fit 32 MiB together.
    """

    step: Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_in_range)] = 0.5
    rank: Annotated[int, Field(ge=0, le=2**16)] | None = None


class _Rows(NamedTuple):
    """The rows of a sample in one group of tensors.

    Attributes:
        entries: of the dictionary, one for each row that may have one.
        like: which of these rows are merely like their entry, bool.
        profiles: of the rows.
        centred: about what is expected of them, zero in place of the outliers, float32 ``[rows, C]``.
        beyond: the outliers.
        surprise: how far they are from what calibration says of them.
        coefficients: of the rows where all samples have the same transform, float32 ``[rows, K]``; else None.
    """

    entries: Index
    like: NDArray[np.bool_]
    profiles: Index
    centred: Matrix
    beyond: Outliers
    surprise: float
    coefficients: Matrix | None

    @classmethod
    def of(cls, block: Block, features: FeatureSet, rule: Rule) -> _Rows:
        rows = block.group.gather(features)
        entries, like = block.find_entries(rows)
        centred, beyond = block.centred(rows, entries)
        profiles = block.row_profiles(len(rows), entries, like)
        return cls(entries, like, profiles, centred, beyond, *block.look_at(centred, rule))


class _Some(NamedTuple):
    """Rows of a sample that are transformed alike.

    Attributes:
        profiles: of them.
        kinds: likewise.
    """

    profiles: Index
    kinds: Index


def _merged(parts: Sequence[tuple[Index | slice, Matrix]], count: int) -> Matrix:
    """So many rows of which each part has some."""
    rows = np.empty((count, parts[0][1].shape[1]), np.float32)
    for at, some in parts:
        rows[at] = some
    return rows


class KltCodec(Codec):
    """Codes tokens, patches or places as whole vectors, over all tensors that know them.

    All keys, values and the hidden state of a token are functions of one residual stream, all levels of a patch of
    another: side by side they make one row (`lamofcbench.codecs.transform.rows`), keys as they were before their rotary
    embedding. A calibrated Karhunen-Loeve transform takes the rows apart into independent coefficients, a second one
    runs over the rows where their number never varies, and all coefficients are rounded to multiples of one step: for
    Gaussian sources, reverse water-filling. The table of a coefficient depends on its deviation over the step alone, in
    classes of a quarter octave that all tensors share; what deviates far less than a step is not coded at all.

    First and last rows, and the places of rows whose number never varies, have means and deviations of their own;
    rows that come again bit by bit in one tensor, as those of a token do in layer 0, are predicted from a
    dictionary, and those of new words have a transform of their own (`lamofcbench.codecs.transform.unnamed`). What
    a transform of limited rank leaves is coded by columns, where it is large against the step. Values far outside
    anything that calibration has seen are sent as they are, and do not enter the transform. Rows that deviate more
    or less than calibration says are coded at another level (`lamofcbench.codecs.transform.levels`).

    Decoded integers are the same everywhere. Values are, up to a few 2^-24 of their row's norm before they are rounded
    to the stored dtype: sums of 32-bit floats depend on the processor.
    """

    Params = KltParams
    revision = 7
    ingredients: ClassVar[Ingredients] = EVERYTHING
    familiar_by: ClassVar[Rule] = Rule.WORST_KIND
    rate_points = tuple({"step": step} for step in (0.1, 0.35, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.3, 16.0))
    needs_calibration = True
    paper = "https://doi.org/10.1109/79.952802"  # Goyal, Theoretical foundations of transform coding

    def learn(self, calibration: CalibrationSamples) -> Mapping[str, Tensor]:
        """A block a group of tensors, and the tables that all of them share."""
        fitted = fit_groups(self._groups, calibration, self.params.rank, ingredients=self.ingredients)
        return self._learned(fitted)

    def _learned(self, fitted: Sequence[Fitted]) -> dict[str, Tensor]:
        """The state of fitted groups."""
        step = self.params.step
        spare = SPARE_VALUES // max(sum(group.width for group in self._groups), 1)
        home = [Numbered.of(each.candidates, step, spare // 2 if each.unnamed else spare) for each in fitted]
        foreign = [Numbered.of(each.foreign, step, spare) if each.foreign else None for each in fitted]
        unnamed = [Numbered.of(each.unnamed, step, 0) if each.unnamed else None for each in fitted]
        strangers = [Numbered.of(each.unnamed_foreign, step, 0) if each.unnamed_foreign else None for each in fitted]
        every = [each for each in (*home, *foreign, *unnamed, *strangers) if each is not None]
        classes = np.arange(LOWEST, min(LOWEST + max(e.highest for e in every) + SHIFTS[-1], HIGHEST) + 1)
        at_home = [each for each in (*home, *unnamed) if each is not None]
        usual = [[np.full(len(rows), USUAL, np.int32) for rows in each.chosen.coefficients] for each in at_home]
        tables = counted(at_home, usual, classes, step)
        costs = Costs.of(tables.frequencies(), tables.shifts())
        chosen = [chosen_levels(each, costs, step) for each in at_home]
        tables = counted(at_home, chosen, classes, step)
        levels = iter([level_frequencies(np.bincount(np.concatenate(n), minlength=COUNT)) for n in chosen])
        named_parts = [Part(*each, next(levels)) for each in zip(home, foreign, strict=True)]
        unnamed_parts = [
            None if own is None else Part(own, stranger, next(levels))
            for own, stranger in zip(unnamed, strangers, strict=True)
        ]
        state: dict[str, Tensor] = {}
        surprises = []
        for index, (known, named, apart) in enumerate(zip(fitted, named_parts, unnamed_parts, strict=True)):
            plain = named.foreign or named.home
            familiarity, of_samples = Familiarity.learned(known.energies, plain.directions, self.familiar_by)
            surprises.append(of_samples)
            state |= block_state(known, step, named, apart, familiarity).named_tensors(index)
        return {
            **state,
            "step": torch.tensor([step], dtype=torch.float64),
            "surprise": torch.tensor([most_familiar(together(surprises), self.familiar_by)], dtype=torch.float32),
            "frequencies": torch.from_numpy(tables.frequencies()),
            "shifts": torch.from_numpy(tables.shifts()),
        }

    def check_state(self) -> None:
        """A step in range, a block that fits each group, and a table for each of its numbers."""
        step = self.state["step"]
        if step.shape != (1,) or not LEAST_STEP <= step <= LARGEST_STEP:
            raise CodecError(f"codec {self.name!r} has no step from {LEAST_STEP:g} to {LARGEST_STEP:g}")
        surprise = self.state["surprise"]
        if surprise.shape != (1,) or surprise.dtype != torch.float32 or not 0 < surprise < torch.inf:
            raise CodecError(f"codec {self.name!r} does not say how surprising a familiar sample may be")
        shifts = self.state["shifts"]
        if shifts.shape != (len(self._tables), MAGNITUDES) or not (shifts.abs() < 1).all():
            raise CodecError(f"codec {self.name!r} has no centroids for each table")
        for block in self._blocks:
            lowest, highest = block.table_range
            if not -REACH - 1 <= lowest <= highest < len(self._tables):
                raise CodecError(f"codec {self.name!r} has no table for each coefficient")

    def continuing(self: K, first_position: int) -> K:
        """Keys are turned back from where they stand, only that at 0 counts as first, and no row as last."""
        if self.open_ended and first_position == self.first_position:
            return self
        codec = self._of_chunks(first_position, open_ended=True)
        codec._blocks = [block.continuing(first_position) for block in self._blocks]
        return codec

    def _prepare(self) -> None:
        super()._prepare()
        _ = self._blocks, self._stack, self._costs, self._least_costs, self._step

    def places_and_scales(self) -> tuple[list[int], list[Matrix]]:
        """Of each group of tensors, over how many rows its places repeat, and what each column is divided by."""
        states = [BlockState.of(index, self.state) for index in range(len(self._groups))]
        return [int(each.places) for each in states], [each.scale.numpy() for each in states]

    @functools.cached_property
    def _groups(self) -> list[RowGroup]:
        return row_groups(self.specs, self.ingredients)

    @functools.cached_property
    def _blocks(self) -> list[Block]:
        return [Block(group, BlockState.of(index, self.state)) for index, group in enumerate(self._groups)]

    @functools.cached_property
    def _tables(self) -> list[FrequencyTable]:
        return [integers.table(row) for row in self.state["frequencies"].to(torch.int32).numpy()]

    @functools.cached_property
    def _stack(self) -> TableStack:
        return TableStack(self._tables)

    @functools.cached_property
    def _costs(self) -> Costs:
        return Costs.of(self.state["frequencies"].numpy(), self._shifts)

    @functools.cached_property
    def _shifts(self) -> Matrix:
        return self.state["shifts"].float().numpy()

    @functools.cached_property
    def _step(self) -> np.float32:
        return np.float32(self.state["step"].item())

    def encode_features(self, features: FeatureSet) -> bytes:
        """Group by group: coefficients, what they leave of columns, outliers.

        Raises:
            CodecError: if the transform makes more of them than can be counted in steps.
        """
        encoder = SymbolEncoder(self._least_bytes({n: tuple(t.shape) for n, t in features.tensors.items()}))
        sample = [_Rows.of(block, features, self.familiar_by) for block in self._blocks]
        foreign = self._is_foreign([rows.surprise for rows in sample])
        for block, rows in zip(self._blocks, sample, strict=True):
            put_foreign(encoder, foreign)
            block.put_entries(encoder, rows.entries, rows.like, foreign)
            for part, at in block.parts(rows.profiles):
                coefficients = None if rows.coefficients is None or part is not block else rows.coefficients[at]
                some = _Some(rows.profiles[at], block.kinds(len(rows.centred))[at])
                self._put_part(encoder, part, some, rows.centred[at], coefficients, foreign)
            rows.beyond.encode(encoder, rows.centred.shape)
        return encoder.finish()

    def _put_part(
        self,
        encoder: SymbolEncoder,
        part: Block,
        some: _Some,
        centred: Matrix,
        coefficients: Matrix | None,
        foreign: bool,
    ) -> None:
        """Appends rows that are transformed alike: levels, coefficients, what these leave of columns."""
        coded = part.for_foreign if foreign else part
        if coefficients is None:
            coefficients = coded.analyse(centred, some.kinds)
        require_range(float(self._step), coefficients)
        in_steps: Matrix = coefficients / self._step  # type: ignore[assignment]  # a Python float keeps float32
        levels = coded.choose_levels(in_steps, some.profiles, foreign, self._costs)
        levels.encode(encoder, levels_table(foreign, part.levels))
        by = self._step / levels.gains, self._shifts, self._stack
        placed = coded.coefficient_tables(some.profiles, levels, len(self._tables))
        residuals_placed = coded.residual_row_tables(levels, len(self._tables))
        found = put_rows(encoder, coefficients, placed, *by, wanted=residuals_placed is not None)
        if residuals_placed is not None and found is not None:
            left, less = coded.residuals(centred, found, some.kinds)
            put_rows(encoder, left, residuals_placed, *by, less=less, wanted=False)

    def _is_foreign(self, surprises: Sequence[float]) -> bool:
        """Whether a sample, with groups as surprising as this, surprises more than those of calibration do."""
        surprise = together(np.array(surprises)[:, None])[0]
        return not surprise <= float(self.state["surprise"])  # nor is familiar what is too large to be measured

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """Means, coefficients transformed back, and what stands for itself."""
        decoder = SymbolDecoder(payload, self._least_bytes(shapes))
        tensors: dict[str, Tensor] = {}
        for block in self._blocks:
            count = rows_of(block.group.row_shape(shapes))
            foreign = take_foreign(decoder)
            entries, like = block.take_entries(decoder, count, foreign)
            profiles = block.row_profiles(count, entries, like)
            parts = []
            for part, at in block.parts(profiles):
                some = _Some(profiles[at], block.kinds(count)[at])
                parts.append((at, self._take_part(decoder, part, some, foreign)))
            centred = parts[0][1] if len(parts) == 1 else _merged(parts, count)
            beyond = Outliers.decode(decoder, (count, block.group.width))
            tensors |= block.group.scatter(block.restored(centred, entries, beyond), shapes)
        decoder.finish()
        return {name: tensors[name] for name in shapes}

    def _take_part(self, decoder: SymbolDecoder, part: Block, some: _Some, foreign: bool) -> Matrix:
        """What `_put_part` appended, transformed back."""
        coded = part.for_foreign if foreign else part
        levels = Levels.decode(decoder, len(some.profiles), levels_table(foreign, part.levels))
        by = self._step / levels.gains, self._shifts, self._stack
        placed = coded.coefficient_tables(some.profiles, levels, len(self._tables))
        centred = coded.synthesise(take_rows(decoder, placed, *by), some.kinds)
        residuals_placed = coded.residual_row_tables(levels, len(self._tables))
        if residuals_placed is not None:
            coded.add_residuals(centred, take_rows(decoder, residuals_placed, *by))
        return centred

    def _least_bytes(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        costs = zip(self._blocks, self._least_costs, strict=True)
        return least_bytes(sum(rows_of(block.group.row_shape(shapes)) * cost for block, cost in costs))

    @functools.cached_property
    def _least_costs(self) -> list[int]:
        """What a row of each group costs at least; its profile and its level are known only from the stream."""
        costs = np.array([0, *(table.least_cost for table in self._tables)], np.int64)
        costs = np.minimum.accumulate(costs[::-1])[::-1]  # a row may have any table from that of the least level on
        found = []
        for block in self._blocks:
            of_rows = []
            for each in block.every_transform:
                tables, residual_tables = (np.clip(t + 1, 0, len(costs) - 1) for t in each.least_tables)
                of_rows += [*(costs[tables].sum(1) + costs[residual_tables].sum()).tolist()]
            found.append(int(min(of_rows, default=0)))
        return found
