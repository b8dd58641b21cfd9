"""Blocks: a group of tensors with its fitted transform, as codecs keep it in their state."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder
from lamofcbench.codecs.sensitivity import kinds_of
from lamofcbench.codecs.transform import centring
from lamofcbench.codecs.transform.block_state import BlockState
from lamofcbench.codecs.transform.centring import Expected
from lamofcbench.codecs.transform.dictionary import NONE, free_rows
from lamofcbench.codecs.transform.estimate import transform_rows
from lamofcbench.codecs.transform.familiarity import Familiarity, Rule, energies_beyond
from lamofcbench.codecs.transform.levels import REACH, SHIFTS, Costs, Levels, choose_levels, levels_table
from lamofcbench.codecs.transform.outliers import Outliers
from lamofcbench.codecs.transform.profiles import FIRST, LAST, MIDDLE
from lamofcbench.codecs.transform.rounding import RowTables
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.codecs.transform.unnamed import IS_LIKE
from lamofcbench.codecs.transform.weighted_rows import WeightedTransform

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]
_FARTHEST = 1e9
"""Deviations beyond are cut before a dictionary is searched: their squares would not fit."""


class Block:
    """Codes the rows of one group: from rows to coefficients with table numbers, and back.

    Args:
        group: the tensors.
        state: what was learnt about them.

    Raises:
        CodecError: if the state, which may come from a stranger's folder, does not fit the group.
    """

    def __init__(self, group: RowGroup, state: BlockState) -> None:
        state.require_fit(group)
        self.group, self.profiles, self._dictionary = group, state.profiles, state.dictionary
        self._scale, self._mean, self._limits = (t.numpy() for t in (state.scale, state.mean, state.limits))
        self._analysis = None if state.analysis is None else state.analysis.float()
        self._across = None if state.rows is None else state.rows.float().numpy()
        self._weighted = None if state.analyses is None else WeightedTransform(state.weighting, self.profiles)
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
        self.for_foreign = self if state.foreign_tables is None else Block(group, state.of_foreign())
        self._for_unnamed = Block(group, state.of_unnamed()) if state.unnamed else None
        self._unnamed = np.array([MIDDLE, FIRST] if state.first_unnamed else [MIDDLE], np.intp)
        analysis = self.for_foreign._analysis
        self._usual = None if analysis is None else analysis[: self._familiarity.directions]

    def continuing(self, first_position: int) -> Block:
        """This block for rows of a stream the first of which stands at this position; others may follow."""
        block = copy.copy(self)
        block.group = replace(self.group, first_position=first_position)
        block.profiles = replace(self.profiles, has_first=first_position == 0, has_last=False)
        if self._weighted is not None:
            block._weighted = copy.copy(self._weighted)
            block._weighted.profiles = block.profiles
        block.for_foreign = block if self.for_foreign is self else self.for_foreign.continuing(first_position)
        return block

    @property
    def table_range(self) -> tuple[int, int]:
        """The smallest and the largest table number."""
        blocks = self.every_transform
        numbers = np.concatenate([t.reshape(-1) for b in blocks for t in (b.tables, b.residual_tables)] + [[-1]])
        return int(numbers.min()), int(numbers.max())

    @property
    def every_transform(self) -> list[Block]:
        """This, and what stands in its place for foreign samples, and for rows that the dictionary has no entry for."""
        found = [self] if self.for_foreign is self else [self, self.for_foreign]
        return found if self._for_unnamed is None else found + self._for_unnamed.every_transform

    def kinds(self, rows: int) -> Index:
        """The kind of each row of a sample of so many, as transforms in the tail's metric tell them apart."""
        return kinds_of(self.profiles, rows)

    def parts(self, profiles: Index) -> list[tuple[Block, Index | slice]]:
        """Which rows of a sample are transformed by this block, and which by that of unnamed rows.

        Args:
            profiles: of all rows, ``[rows]``.
        """
        if self._for_unnamed is None:
            return [(self, slice(None))]
        unnamed = np.isin(profiles, self._unnamed)
        if not unnamed.any():
            return [(self, slice(None))]
        parts: list[tuple[Block, Index | slice]] = [(self._for_unnamed, np.flatnonzero(unnamed))]
        return parts if unnamed.all() else [(self, np.flatnonzero(~unnamed)), *parts]

    # --------------------------------------------------------------------------------------------- levels of rows

    def look_at(self, centred: Matrix, rule: Rule) -> tuple[float, Matrix | None]:
        """How many times as much a sample's centred rows have beyond the usual directions as those of calibration.

        Returns:
            That, and their coefficients where foreign samples have the same transform.
        """
        coefficients, leading = None, centred[:, :0]
        if self.for_foreign is self:
            coefficients = self.analyse(centred, self.kinds(len(centred)))
            leading = coefficients[:, : self._familiarity.directions]  # turned over places, which adds up to as much
        elif self._usual is not None:
            leading = (torch.from_numpy(centred) @ self._usual.T).numpy()
        return self._familiarity.surprise(energies_beyond(centred, leading), self.profiles, rule), coefficients

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

    def find_entries(self, rows: Matrix) -> tuple[Index, Mask]:
        """Entries for rows ``[rows, C]``, one for each that may have one; and which of them these are merely like."""
        free = self._free(len(rows))
        if self._dictionary is None or not free.any():
            return np.empty(0, np.intp), np.empty(0, bool)
        with np.errstate(over="ignore"):
            deviations = (rows[free] - self._mean[MIDDLE]) / self._scale
        entries, near = self._dictionary.find(np.clip(deviations, -_FARTHEST, _FARTHEST))
        like = (entries != NONE) & ~near
        if self._for_unnamed is None:
            return np.where(like, NONE, entries), np.zeros_like(like)
        return entries, like

    def put_entries(self, encoder: SymbolEncoder, entries: Index, like: Mask, foreign: bool) -> None:
        """Appends the numbers of entries, where the group has a dictionary, and which of them rows are merely like."""
        if self._dictionary is None:
            return
        self._dictionary.encode(encoder, entries)
        if self._for_unnamed is not None:
            encoder.put(like[entries != NONE].astype(np.int32), IS_LIKE[foreign])

    def take_entries(self, decoder: SymbolDecoder, rows: int, foreign: bool) -> tuple[Index, Mask]:
        """What `put_entries` appended of a sample of so many rows.

        Raises:
            BitstreamError: if the dictionary lacks an entry.
        """
        if self._dictionary is None:
            return np.empty(0, np.intp), np.empty(0, bool)
        entries = self._dictionary.decode(decoder, int(self._free(rows).sum()))
        like = np.zeros(len(entries), bool)
        if self._for_unnamed is not None:
            known = entries != NONE
            like[known] = decoder.take(int(known.sum()), IS_LIKE[foreign]).astype(bool)
        return entries, like

    def row_profiles(self, rows: int, entries: Index, like: Mask) -> Index:
        """The profile of each row of a sample of so many, ``[rows]``."""
        index = self.profiles.of(rows)
        if self._dictionary is not None:
            index[self._free(rows)] = self._dictionary.profiles(np.where(like, NONE, entries))
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

    def analyse(self, centred: Matrix, kinds: Index) -> Matrix:
        """Coefficients ``[rows, K]`` of centred rows ``[rows, C]`` of these kinds."""
        if self._weighted is not None:
            return self._weighted.analyse(centred, kinds)
        if self._analysis is not None:
            centred = (torch.from_numpy(centred) @ self._analysis.T).numpy()
        return transform_rows(centred, self._across, self.profiles)

    def synthesise(self, coefficients: Matrix, kinds: Index) -> Matrix:
        """Centred rows ``[rows, C]`` of coefficients ``[rows, K]`` of rows of these kinds."""
        if self._weighted is not None:
            return self._weighted.synthesise(coefficients, kinds)
        across = None if self._across is None else np.ascontiguousarray(self._across.T)
        values = transform_rows(coefficients, across, self.profiles)
        if self._analysis is None:
            return values
        return (torch.from_numpy(np.ascontiguousarray(values)) @ self._analysis).numpy()

    def residuals(self, centred: Matrix, coefficients: Matrix, kinds: Index) -> tuple[Matrix, Matrix | None]:
        """What coefficients ``[rows, K]`` leave of the columns that residuals are coded of, ``[rows, columns]``.

        Returns:
            Values, and what is to be subtracted from them, if anything.
        """
        known = self.synthesise(coefficients, kinds)
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
