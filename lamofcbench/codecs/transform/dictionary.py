"""A dictionary of rows that come again: what the same token looked like in calibration.

In the first layers of a language model, keys and values are mostly a matter of the token: those of layer 0 of nothing
else, so that their rows come again bit by bit. Where a tensor's rows do, they name what a row is, and the mean of all
rows of that name predicts the next one, every tensor of the group included. The number of the entry travels with the
row, at about the entropy of a word; rows of no entry are coded without.

Where only some rows come again, as the tokens of a template do around recorded speech, entries are made of those that
several samples have, and a row has one if it is all but the same: most rows are near some entry by chance alone. Where
most do, one that is merely like an entry may be predicted from it, too, but remains unnamed
(`lamofcbench.codecs.transform.unnamed`).

Entries are taken from features alone. No tokenizer, embedding or weight of the model is needed, or known.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, frequencies_from_weights
from lamofcbench.codecs.transform.profiles import FIRST, LAST, MIDDLE
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.errors import BitstreamError

MAX_VALUES = 6 * 2**20
"""Values that the entries of a group have together, of one byte each."""
MAX_ENTRIES = 2**15
LEAST_ROWS_AN_ENTRY = 2.0
"""Rows of a tensor come again if there are at least so many for each distinct one."""
LEAST_SHARED = 0.1
"""Some do if so large a share of all is in other samples as well."""
MOST_DISTANCES = 2**24
"""Distances of rows from entries that are held at a time."""
SHRINKAGE = 0.25
"""How many rows the mean over all entries is worth in the estimate of an entry's, where its rows vary."""
SAME = 0.01
"""Of the variance of a tensor: what rows of a name may vary by and yet be the same."""
LIKENESS = 0.3
"""Of the energy of a row: what an entry takes of it that the row is not one of, but like."""
LEVELS = (1, 2, 5, 20)
"""An entry's profile depends on how many rows it was made from: these are the least numbers of each level."""

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]
NONE = -1
"""The entry of rows that have none."""


@dataclass(frozen=True)
class Dictionary:
    """Entries by falling number of rows.

    Attributes:
        columns: of the tensor whose rows come again.
        entries: deviations of each entry from the mean of all middle rows, in units of ``units``, int8 ``[N, C]``.
        units: float32 ``[C]``.
        levels: of each entry, index into `LEVELS`, int8 ``[N]``.
        frequencies: of the tokens of entry numbers, int32 ``[integers.ALPHABET]``; 0 is `NONE`.
        farthest: how far rows may be from the entry that names them, as a share of their square in that tensor.
    """

    columns: slice
    entries: NDArray[np.int8]
    units: Matrix
    levels: NDArray[np.int8]
    frequencies: NDArray[np.int32]
    farthest: float = SAME

    @functools.cached_property
    def table(self) -> FrequencyTable:
        """The entropy model of entry numbers."""
        return integers.table(self.frequencies)

    @property
    def bits(self) -> float:
        """What the number of an entry costs on average."""
        shares = self.frequencies / float(self.frequencies.sum())
        return float((shares * (integers.TOKEN_WIDTH - np.log2(shares))).sum())

    @functools.cached_property
    def _names(self) -> tuple[Matrix, Matrix]:
        """The entries in the tensor that names rows, and their squares."""
        known = self.entries[:, self.columns].astype(np.float32) * self.units[self.columns]
        return known, np.square(known).sum(1)

    def encode(self, encoder: SymbolEncoder, index: Index) -> None:
        """Appends entry numbers."""
        numbers = (index + 1).astype(np.float64)
        tokens = integers.tokenise(numbers, numbers.astype(np.float32))
        encoder.put(tokens.symbols, self.table)
        tokens.put_extras(encoder)

    def decode(self, decoder: SymbolDecoder, count: int) -> Index:
        """Takes the entry numbers of so many rows.

        Raises:
            BitstreamError: if one of them is none.
        """
        numbers, raw, _ = integers.detokenise(decoder.take(count, self.table), 1.0, decoder)
        if raw.size or (count and not 0 <= numbers.min() <= numbers.max() <= len(self.entries)):
            raise BitstreamError("a row claims an entry that the dictionary lacks")
        return numbers.astype(np.intp) + NONE

    def predictions(self, index: Index) -> Matrix:
        """Deviations from the middle mean that entries predict, ``[rows, C]``; zero for `NONE`."""
        if not len(self.entries):
            return np.zeros((len(index), self.entries.shape[1]), np.float32)
        predicted = self.entries[index].astype(np.float32)
        predicted *= self.units
        predicted[index == NONE] = 0.0
        return predicted

    def profiles(self, index: Index) -> Index:
        """The profile of rows with these entries."""
        if not len(self.levels):
            return np.full(len(index), MIDDLE, np.intp)
        return np.where(index == NONE, MIDDLE, FIRST_LEVEL + self.levels[index])

    def find(self, deviations: Matrix, barred: Index | None = None) -> tuple[Index, NDArray[np.bool_]]:
        """The entry that is nearest in the tensor that names it, where that entry brings the whole row nearer.

        Args:
            deviations: of rows from the middle mean, ``[rows, C]``.
            barred: entries that are not to be found, as those made from the same rows.

        Returns:
            Entries, and which of them are so near that the row is one of theirs; others are merely like it.
        """
        if not len(self.entries) or not len(deviations):
            return np.full(len(deviations), NONE, np.intp), np.zeros(len(deviations), bool)
        # Blocks are about equal, since products of very few rows may round otherwise than those of many.
        blocks = -(-len(deviations) * len(self.entries) // MOST_DISTANCES)
        found = [self._nearest(rows, barred) for rows in np.array_split(deviations, blocks)]
        index, near = (np.concatenate(each) for each in zip(*found, strict=True))
        predicted = self.predictions(index)
        gain = (predicted * (2.0 * deviations - predicted)).sum(1, dtype=np.float64)
        near &= gain > 0
        like = gain >= LIKENESS * np.square(deviations, dtype=np.float64).sum(1)
        return np.where(near | like, index, NONE), near

    def _nearest(self, deviations: Matrix, barred: Index | None) -> tuple[Index, NDArray[np.bool_]]:
        """The entry that is nearest in the tensor that names it, and whether that is near enough."""
        known, squares = self._names
        named = np.ascontiguousarray(deviations[:, self.columns])
        distances: Matrix = (torch.from_numpy(named) @ torch.from_numpy(known).T).numpy()
        distances *= -2.0
        distances += squares
        if barred is not None:
            distances[:, barred] = np.inf
        least, own = distances.min(1), np.square(named).sum(1)
        return np.where(least < np.inf, distances.argmin(1), NONE), least + own <= self.farthest * own


FIRST_LEVEL = 3
"""The profile of the first level; those before are of places."""


def free_rows(places: Index, by_place: tuple[bool, bool]) -> NDArray[np.bool_]:
    """Which rows a dictionary predicts: those whose place has no profile of its own.

    Args:
        places: the profile of each row by its place alone.
        by_place: whether that of the first and of the last row is kept.
    """
    return (places == MIDDLE) | ((places == FIRST) & (not by_place[0])) | ((places == LAST) & (not by_place[1]))


@dataclass(frozen=True)
class Repetition:
    """Which rows of calibration samples have the same name.

    Attributes:
        columns: of the tensor whose rows come again.
        names: of the rows of each sample, ``[rows]``, numbered from 0.
        count: of names.
        determined: columns of the tensors whose rows are the same wherever their names are, but for rounding.
        mostly: whether most rows come again; else names that one sample alone has make no entries.
    """

    columns: slice
    names: list[Index]
    count: int
    determined: tuple[slice, ...] = ()
    mostly: bool = True

    @functools.cached_property
    def shared(self) -> NDArray[np.bool_]:
        """Which names more than one sample has, bool ``[count]``."""
        return np.bincount(np.concatenate([np.unique(names) for names in self.names]), minlength=self.count) > 1

    @property
    def met_before(self) -> float:
        """The share of all rows whose names other samples have, too."""
        return float(self.shared[np.concatenate(self.names)].mean())


def find_repetition(group: RowGroup, samples: Sequence[Matrix]) -> Repetition | None:
    """The tensor of a group with the fewest different rows, if most or some of them come again; else None."""
    total = sum(map(len, samples))
    best = None
    for columns in group.columns.values():
        numbers: dict[bytes, int] = {}
        names = [_numbered(np.ascontiguousarray(rows[:, columns]), numbers) for rows in samples]
        mostly = len(numbers) <= total / LEAST_ROWS_AN_ENTRY
        found = Repetition(columns, names, len(numbers), mostly=mostly)
        if not 1 < len(numbers) < (total + 1 if best is None else best.count):
            continue
        if mostly or found.met_before >= LEAST_SHARED:
            best = found
    return None if best is None else replace(best, determined=_determined(group, samples, best))


def _determined(group: RowGroup, samples: Sequence[Matrix], repetition: Repetition) -> tuple[slice, ...]:
    counts = np.bincount(np.concatenate(repetition.names), minlength=repetition.count)[:, None]
    found = []
    for columns in group.columns.values():
        sums = np.zeros((repetition.count, columns.stop - columns.start))
        for rows, names in zip(samples, repetition.names, strict=True):
            np.add.at(sums, names, rows[:, columns].astype(np.float64))
        means, common = sums / counts, sums.sum(0) / counts.sum()
        within = whole = 0.0
        for rows, names in zip(samples, repetition.names, strict=True):
            values = rows[:, columns].astype(np.float64)
            within += float(np.square(values - means[names]).sum())
            whole += float(np.square(values - common).sum())
        if within < SAME * whole:
            found.append(columns)
    return tuple(found)


def _numbered(rows: Matrix, numbers: dict[bytes, int]) -> Index:
    """The number of each row's content; contents that are met for the first time get the next ones."""
    return np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows], np.intp)


class EntryMeans:
    """Means of the rows of each name, with and without those of one sample.

    Args:
        deviations: of the rows of each sample from the middle mean, ``[rows, C]``.
        repetition: their names.
        counted: which rows count, bool ``[rows]`` a sample.
    """

    def __init__(
        self, deviations: Sequence[Matrix], repetition: Repetition, counted: Sequence[NDArray[np.bool_]]
    ) -> None:
        self._repetition = repetition
        self.counts = np.zeros(repetition.count)
        self._sums = np.zeros((repetition.count, deviations[0].shape[1]), np.float32)
        self._shrinkage = np.full(self._sums.shape[1], SHRINKAGE, np.float32)
        for columns in repetition.determined:
            self._shrinkage[columns] = 0.0
        for rows, names, counts in zip(deviations, repetition.names, counted, strict=True):
            np.add.at(self.counts, names[counts], 1)
            np.add.at(self._sums, names[counts], rows[counts])

    def without(self, names: Index, rows: Matrix, counted: NDArray[np.bool_]) -> tuple[Matrix, NDArray[np.float64]]:
        """What all samples but this one predict of its rows, ``[rows, C]``, and from how many rows each."""
        distinct, inverse = np.unique(names, return_inverse=True)
        sums, counts = self._sums[distinct], self.counts[distinct]
        np.subtract.at(sums, inverse[counted], rows[counted])
        np.subtract.at(counts, inverse[counted], 1)
        means = self._shrunk(sums, counts)
        means[counts <= 0] = 0.0
        return means[inverse], counts[inverse]

    def _shrunk(self, sums: Matrix, counts: NDArray[np.float64]) -> Matrix:
        """Means of names by sums and numbers of rows; what is no matter of other rows is not shrunk."""
        return sums / (np.maximum(counts, 1).astype(np.float32)[:, None] + self._shrinkage)

    def order(self) -> Index:
        """The names that become entries, by falling number of rows, as many as `MAX_VALUES` allows."""
        most = min(MAX_ENTRIES, MAX_VALUES // max(self._sums.shape[1], 1))
        known = self.counts if self._repetition.mostly else self.counts * self._repetition.shared
        order = np.argsort(-known, kind="stable")[:most]
        return order[known[order] > 0]

    def dictionary(self, uses: NDArray[np.int64]) -> Dictionary:
        """The entries.

        Args:
            uses: how many rows have no entry, and how many have each, in `order`.
        """
        order = self.order()
        means = self._shrunk(self._sums[order], self.counts[order])
        units = np.maximum(np.abs(means).max(0, initial=0.0) / 127, np.finfo(np.float32).tiny)
        entries = np.rint(means / units).astype(np.int8)
        numbers = np.arange(len(uses), dtype=np.float64)
        tokens = integers.tokenise(numbers, numbers.astype(np.float32)).symbols
        counts = np.bincount(tokens, uses + 1.0 / len(uses), integers.ALPHABET).astype(np.float64)
        return Dictionary(
            self._repetition.columns,
            entries,
            units.astype(np.float32),
            level_of(self.counts[order]),
            frequencies_from_weights(counts),
        )


def level_of(counts: NDArray[np.float64]) -> NDArray[np.int8]:
    """The level of entries made from so many rows, each at least 1."""
    return (np.searchsorted(LEVELS, counts, side="right") - 1).astype(np.int8)
