"""Blocks: a group of tensors with its fitted transform, as codecs keep it in their state."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder
from lamofcbench.codecs.transform import centring
from lamofcbench.codecs.transform.centring import Expected
from lamofcbench.codecs.transform.dictionary import FIRST_LEVEL, LEVELS, Dictionary, free_rows
from lamofcbench.codecs.transform.estimate import transform_rows
from lamofcbench.codecs.transform.familiarity import Familiarity, beyond, parts_of
from lamofcbench.codecs.transform.levels import COUNT, REACH, SHIFTS, Costs, Levels, choose_levels, levels_table
from lamofcbench.codecs.transform.outliers import Outliers
from lamofcbench.codecs.transform.profiles import FIRST, LAST, MIDDLE, Profiles
from lamofcbench.codecs.transform.rounding import RowTables
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.codecs.transform.weighted_rows import WeightedTransform
from lamofcbench.codecs.transform.weighting import Weighting
from lamofcbench.errors import CodecError

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]
_FARTHEST = 1e9
"""Deviations beyond are cut before a dictionary is searched: their squares would not fit."""


@dataclass(frozen=True)
class BlockState:
    """What a block has learnt, as tensors.

    Attributes:
        places: over how many rows the pattern of places repeats, int32 ``[1]``; 0 where their number varies.
        scale: what a column is divided by before the transform, float32 ``[C]``.
        mean: of rows by profile, before scaling, float32 ``[P or 1, C]``.
        limits: a value further than this from its mean is sent as it is, float32 ``[C]``.
        tables: of coefficients at the usual level, int16 ``[P, K]``; negative where they are taken for zero.
        residual_tables: of what the transform leaves of a column, int16 ``[C]``; likewise.
        energies: that rows are expected to have beyond the usual directions, by kind, float32 ``[kinds]``.
        usual: how many of the leading directions of the transform of features alone these are, int32 ``[1]``.
        level_frequencies: of the levels of rows, int32.
        analysis: orthonormal rows, float16 ``[K, C]``; None where the coefficients are the columns themselves.
        rows: the transform over the places of a sample, float16 ``[R, R]``; None where there is none.
        by_place: with a dictionary, whether the first and the last row have profiles of their own, uint8 ``[2]``.
        named: with a dictionary, the first column of the tensor that names rows, and the one behind it, int32 ``[2]``.
        entries: of the dictionary, int8 ``[N, C]``.
        units: of the entries' columns, float32 ``[C]``.
        levels: of the entries, int8 ``[N]``.
        entry_frequencies: of the tokens of entry numbers, int32.
        analyses, gains, syntheses, lifts, back, units_of_steps: with a transform in the tail's metric, what a
            `Weighting` holds; its analysis over places is in ``rows``.
        foreign_tables, foreign_residual_tables, foreign_analysis, foreign_rows: what stands in place of the transform
            in the tail's metric for foreign samples.
    """

    places: Tensor
    scale: Tensor
    mean: Tensor
    limits: Tensor
    tables: Tensor
    residual_tables: Tensor
    energies: Tensor
    usual: Tensor
    level_frequencies: Tensor
    analysis: Tensor | None = None
    rows: Tensor | None = None
    by_place: Tensor | None = None
    named: Tensor | None = None
    entries: Tensor | None = None
    units: Tensor | None = None
    levels: Tensor | None = None
    entry_frequencies: Tensor | None = None
    analyses: Tensor | None = None
    gains: Tensor | None = None
    syntheses: Tensor | None = None
    lifts: Tensor | None = None
    back: Tensor | None = None
    units_of_steps: Tensor | None = None
    foreign_tables: Tensor | None = None
    foreign_residual_tables: Tensor | None = None
    foreign_analysis: Tensor | None = None
    foreign_rows: Tensor | None = None

    def named_tensors(self, index: int) -> dict[str, Tensor]:
        """Those that there are, by names for a codec's state."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {f"{index}.{name}": tensor for name, tensor in values.items() if tensor is not None}

    @classmethod
    def of(cls, index: int, state: Mapping[str, Tensor]) -> BlockState:
        """What `named_tensors` put into a codec's state.

        Raises:
            CodecError: if something is missing.
        """
        values = {field.name: state.get(f"{index}.{field.name}") for field in fields(cls)}
        missing = [name for name in _ALWAYS if values[name] is None]
        parts = [[values[name] is None for name in names] for names in (_OF_DICTIONARY, _OF_WEIGHTING)]
        if missing or any(any(part) != all(part) for part in parts):
            raise CodecError(f"the state of group {index} is incomplete" + (f": no {missing[0]}" if missing else ""))
        return cls(**values)  # type: ignore[arg-type]


_ALWAYS = (
    *("places", "scale", "mean", "limits", "tables", "residual_tables"),
    *("energies", "usual", "level_frequencies"),
)
_OF_DICTIONARY = ("by_place", "named", "entries", "units", "levels", "entry_frequencies")
_OF_WEIGHTING = (
    *("analyses", "gains", "syntheses", "lifts", "units_of_steps"),
    *("foreign_tables", "foreign_residual_tables"),
)


def stored_weighting(weighting: Weighting) -> dict[str, Tensor]:
    """The fields of a `BlockState` that hold a transform in the tail's metric."""
    arrays = {
        "analyses": weighting.analyses,
        "gains": weighting.gains,
        "syntheses": weighting.syntheses,
        "lifts": weighting.lifts,
        "rows": weighting.across,
        "back": weighting.back,
        "units_of_steps": weighting.units,
    }
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items() if a is not None}


class Block:
    """Codes the rows of one group: from rows to coefficients with table numbers, and back.

    Args:
        group: the tensors.
        state: what was learnt about them.

    Raises:
        CodecError: if the state, which may come from a stranger's folder, does not fit the group.
    """

    def __init__(self, group: RowGroup, state: BlockState) -> None:
        self.group, self._state = group, state
        try:
            self.profiles = Profiles(int(state.places))
            self._dictionary = _dictionary(state)
            fitting = self._fits()
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise CodecError(f"the state of tensor {group.specs[0].name!r} is damaged: {error}") from error
        if not fitting:
            raise CodecError(f"the state of tensor {group.specs[0].name!r} does not fit its shape")
        self._scale, self._mean, self._limits = (t.numpy() for t in (state.scale, state.mean, state.limits))
        self._analysis = None if state.analysis is None else state.analysis.float()
        self._across = None if state.rows is None else state.rows.float().numpy()
        self._weighted = None if state.analyses is None else WeightedTransform(_weighting(state), self.profiles)
        self.tables: NDArray[np.int16] = state.tables.numpy()
        self.residual_columns = np.flatnonzero(state.residual_tables.numpy() >= -REACH)
        self.residual_tables: NDArray[np.int16] = state.residual_tables.numpy()[self.residual_columns]
        self._all_residual = len(self.residual_columns) == group.width
        first, last = (True, True) if state.by_place is None else map(bool, state.by_place.tolist())
        self._by_place = (first, last)
        bounded = [place for place, own in ((FIRST, first), (LAST, last)) if own and not self.profiles.places]
        self._bounded = np.array(bounded, np.intp)
        self._familiarity = Familiarity(state.energies.numpy(), int(state.usual))
        self.levels = FrequencyTable(state.level_frequencies.to(torch.int32).numpy())
        self.for_foreign = self if state.foreign_tables is None else Block(group, _of_foreign(state))
        analysis = self.for_foreign._analysis
        self._usual = None if analysis is None else analysis[: self._familiarity.directions]

    def continuing(self, first_position: int) -> Block:
        """This block for rows the first of which stands at this position, behind others if it is not 0."""
        block = copy.copy(self)
        block.group = replace(self.group, first_position=first_position)
        block.profiles = replace(self.profiles, inner=first_position > 0)
        if self._weighted is not None:
            block._weighted = copy.copy(self._weighted)
            block._weighted.profiles = block.profiles
        block.for_foreign = block if self.for_foreign is self else self.for_foreign.continuing(first_position)
        return block

    def _fits(self) -> bool:
        state, width = self._state, self.group.width
        kept = len(state.analysis) if state.analysis is not None else width
        if state.analyses is not None:
            kept = state.analyses.shape[1]
        profiles = self.profiles.count if state.entries is None else FIRST_LEVEL + len(LEVELS)
        may_be_floats = (
            *(state.scale, state.mean, state.limits, state.energies),
            *(state.gains, state.lifts, state.units_of_steps),
        )
        may_be_halves = (state.analysis, state.rows, state.analyses, state.syntheses, state.back)
        floats, halves = ([t for t in tensors if t is not None] for tensors in (may_be_floats, may_be_halves))
        return (
            self.profiles.places >= 0
            and state.scale.shape == state.limits.shape == state.residual_tables.shape == (width,)
            and state.mean.shape in ((self.profiles.count, width), (1, width))
            and (state.analysis is None or state.analysis.shape == (kept, width))
            and state.tables.shape == (profiles, kept)
            and state.energies.shape == (parts_of(self.profiles),)
            and bool((state.energies > 0).all())
            and self._usual_fit()
            and state.level_frequencies.shape == (COUNT,)
            and (state.rows is None or state.rows.shape == (self.profiles.places,) * 2)
            and state.tables.dtype == state.residual_tables.dtype == torch.int16
            and all(t.dtype is torch.float32 for t in floats)
            and all(t.dtype is torch.float16 for t in halves)
            and all(bool(torch.isfinite(t).all()) for t in (*floats, *halves))
            and bool((state.scale > 0).all())
            and (self._dictionary is None or self._fitting(self._dictionary))
            and (state.analyses is None or self._weights_fit(state.analyses))
        )

    def _usual_fit(self) -> bool:
        state = self._state
        plain = state.analysis if state.foreign_tables is None else state.foreign_analysis
        most = 0 if plain is None else len(plain)
        return state.usual.shape == (1,) and state.usual.dtype == torch.int32 and 0 <= int(state.usual) <= most

    def _weights_fit(self, analyses: Tensor) -> bool:
        state, kinds = self._state, 1 if self.profiles.places else 3
        assert state.gains is not None and state.lifts is not None
        assert state.syntheses is not None and state.units_of_steps is not None
        return (
            state.analysis is None
            and len(analyses) in (1, kinds)
            and state.syntheses.shape == analyses.shape == (*state.gains.shape, self.group.width)
            and state.lifts.shape == state.gains.shape
            and (state.rows is None) == (state.back is None)
            and (state.back is None or state.back.shape == (self.profiles.places,) * 2)
            and state.units_of_steps.shape == (self.group.width,)
            and bool((state.units_of_steps > 0).all())
        )

    def _fitting(self, dictionary: Dictionary) -> bool:
        count, width, named = len(dictionary.entries), self.group.width, self._state.named
        return (
            self.profiles.places == 0
            and self._state.mean.shape[0] == self.profiles.count
            and dictionary.entries.dtype == dictionary.levels.dtype == np.int8
            and dictionary.entries.shape == (count, width)
            and dictionary.units.shape == (width,)
            and dictionary.units.dtype == np.float32
            and bool(np.isfinite(dictionary.units).all())
            and dictionary.levels.shape == (count,)
            and bool(((dictionary.levels >= 0) & (dictionary.levels < len(LEVELS))).all())
            and named is not None
            and slice(*named.tolist()) in self.group.columns.values()
            and self._state.by_place is not None
            and self._state.by_place.shape == (2,)
            and dictionary.table is not None
        )

    @property
    def table_range(self) -> tuple[int, int]:
        """The smallest and the largest table number."""
        blocks = {self, self.for_foreign}
        numbers = np.concatenate([t.reshape(-1) for b in blocks for t in (b.tables, b.residual_tables)] + [[-1]])
        return int(numbers.min()), int(numbers.max())

    # --------------------------------------------------------------------------------------------- levels of rows

    def look_at(self, centred: Matrix) -> tuple[float, Matrix | None]:
        """How many times as much a sample's centred rows have beyond the usual directions as those of calibration.

        Returns:
            That, and their coefficients where foreign samples have the same transform.
        """
        coefficients, leading = None, centred[:, :0]
        if self.for_foreign is self:
            coefficients = self.analyse(centred)
            leading = coefficients[:, : self._familiarity.directions]  # turned over places, which adds up to as much
        elif self._usual is not None:
            leading = (torch.from_numpy(centred) @ self._usual.T).numpy()
        return self._familiarity.surprise(beyond(centred, leading), self.profiles), coefficients

    def choose_levels(self, scaled: Matrix, profiles: Index, foreign: bool, costs: Costs) -> Levels:
        """The levels at which coefficients in steps, ``[rows, K]``, cost least."""
        bounded = self._bounded if foreign else self._bounded[:0]
        return choose_levels(scaled, self.tables, profiles, bounded, costs, levels_table(foreign, self.levels))

    def coefficient_tables(self, profiles: Index, levels: Levels, tables: int) -> RowTables:
        """The table of each coefficient, of so many, of rows of these profiles."""
        return RowTables(self.tables, profiles, levels.classes.reshape(-1), tables - 1)

    def residual_row_tables(self, levels: Levels, tables: int) -> RowTables | None:
        """The table of each residual, of so many, ``[rows, columns]``; None where none is coded."""
        raised = levels.classes.reshape(-1)
        if not len(raised) or not self.residual_columns.size or raised.max() + self.residual_tables.max() < 0:
            return None
        return RowTables(self.residual_tables[None], np.zeros(len(raised), np.intp), raised, tables - 1)

    @property
    def least_tables(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Those of coefficients and of residuals at the level of the least deviations."""
        return self.tables + np.int16(SHIFTS[0]), self.residual_tables + np.int16(SHIFTS[0])

    # ------------------------------------------------------------------------------------------ what is expected

    def _free(self, rows: int) -> NDArray[np.bool_]:
        """Which rows of a sample of so many may have an entry of the dictionary, bool ``[rows]``."""
        if self._dictionary is None:
            return np.zeros(rows, bool)
        return free_rows(self.profiles.of(rows), self._by_place)

    def find_entries(self, rows: Matrix) -> Index:
        """The entries that predict rows ``[rows, C]`` best, one for each that may have one."""
        free = self._free(len(rows))
        if self._dictionary is None or not free.any():
            return np.empty(0, np.intp)
        with np.errstate(over="ignore"):
            deviations = (rows[free] - self._mean[MIDDLE]) / self._scale
        return self._dictionary.find(np.clip(deviations, -_FARTHEST, _FARTHEST))

    def put_entries(self, encoder: SymbolEncoder, entries: Index) -> None:
        """Appends the numbers of entries, where the group has a dictionary."""
        if self._dictionary is not None:
            self._dictionary.encode(encoder, entries)

    def take_entries(self, decoder: SymbolDecoder, rows: int) -> Index:
        """The entries of a sample of so many rows.

        Raises:
            BitstreamError: if the dictionary lacks one of them.
        """
        if self._dictionary is None:
            return np.empty(0, np.intp)
        return self._dictionary.decode(decoder, int(self._free(rows).sum()))

    def row_profiles(self, rows: int, entries: Index) -> Index:
        """The profile of each row of a sample of so many, ``[rows]``."""
        index = self.profiles.of(rows)
        if self._dictionary is not None:
            index[self._free(rows)] = self._dictionary.profiles(entries)
        return index

    def _expected(self, rows: int, entries: Index) -> Expected:
        """What is expected of each row."""
        if len(self._mean) == 1:
            return Expected(self._mean, np.zeros(rows, np.intp))
        if self._dictionary is None:
            return Expected(self._mean, self.profiles.of(rows))
        free = self._free(rows)
        expected = self._mean[np.where(free, MIDDLE, self.profiles.of(rows))]
        expected[free] += self._dictionary.predictions(entries) * self._scale
        return Expected(expected, np.arange(rows))

    # ------------------------------------------------------------------------------------------- what is transformed

    def centred(self, rows: Matrix, entries: Index) -> tuple[Matrix, Outliers]:
        """Rows ``[rows, C]`` about what is expected of them, scaled, zero in place of the outliers."""
        return centring.centred(rows, self._expected(len(rows), entries), self._limits, self._scale)

    def restored(self, centred: Matrix, entries: Index, beyond: Outliers) -> Matrix:
        """The rows whose centred ones, entries and outliers these are; writes over them."""
        rows = centring.restored(centred, self._expected(len(centred), entries), self._scale)
        beyond.put_back(rows)
        return rows

    def analyse(self, centred: Matrix) -> Matrix:
        """Coefficients ``[rows, K]`` of centred rows ``[rows, C]``."""
        if self._weighted is not None:
            return self._weighted.analyse(centred)
        if self._analysis is not None:
            centred = (torch.from_numpy(centred) @ self._analysis.T).numpy()
        return transform_rows(centred, self._across, self.profiles)

    def synthesise(self, coefficients: Matrix) -> Matrix:
        """Centred rows ``[rows, C]`` of coefficients ``[rows, K]``."""
        if self._weighted is not None:
            return self._weighted.synthesise(coefficients)
        across = None if self._across is None else np.ascontiguousarray(self._across.T)
        values = transform_rows(coefficients, across, self.profiles)
        if self._analysis is None:
            return values
        return (torch.from_numpy(np.ascontiguousarray(values)) @ self._analysis).numpy()

    def residuals(self, centred: Matrix, coefficients: Matrix) -> tuple[Matrix, Matrix | None]:
        """What coefficients ``[rows, K]`` leave of the columns that residuals are coded of, ``[rows, columns]``.

        Returns:
            Values, and what is to be subtracted from them, if anything.
        """
        known = self.synthesise(coefficients)
        if self._all_residual and self._weighted is None:
            return centred, known
        left = (centred - known)[:, self.residual_columns]
        return (left if self._weighted is None else left / self._weighted.units[self.residual_columns]), None

    def add_residuals(self, centred: Matrix, residuals: Matrix) -> None:
        """Adds residuals to the columns that they are of."""
        if self._weighted is not None:
            residuals = residuals * self._weighted.units[self.residual_columns]
        if self._all_residual:
            centred += residuals
        else:
            centred[:, self.residual_columns] += residuals


def _of_foreign(state: BlockState) -> BlockState:
    """With the transform of foreign samples in place of that in the tail's metric."""
    assert state.foreign_tables is not None and state.foreign_residual_tables is not None
    return replace(
        state,
        tables=state.foreign_tables,
        residual_tables=state.foreign_residual_tables,
        analysis=state.foreign_analysis,
        rows=state.foreign_rows,
        **dict.fromkeys((*_OF_WEIGHTING, "back", "foreign_analysis", "foreign_rows")),  # type: ignore[arg-type]
    )


def _weighting(state: BlockState) -> Weighting:
    """The weighting of a state that is whole."""
    stored = (state.analyses, state.gains, state.syntheses, state.lifts, state.rows, state.back, state.units_of_steps)
    arrays = [None if tensor is None else tensor.numpy() for tensor in stored]
    return Weighting(*arrays)  # type: ignore[arg-type]


def _dictionary(state: BlockState) -> Dictionary | None:
    """The dictionary of a state that is whole; None where it has none."""
    if state.entries is None or state.units is None or state.levels is None or state.entry_frequencies is None:
        return None
    assert state.named is not None
    named = slice(*state.named.tolist())
    arrays = (t.numpy() for t in (state.entries, state.units, state.levels, state.entry_frequencies.to(torch.int32)))
    return Dictionary(named, *arrays)
