"""Unnamed rows: those that a dictionary has no entry for, as of words that calibration never met.

They deviate many times as much as rows whose entry is known, and elsewhere: a transform and tables that were made for
what entries leave code them at a multiple of what they need. And where all words of calibration come again, it has no
such row. So they have a transform of their own, fitted to the first row of each name, which is what a new word is.

An entry that is merely like such a row may still be much nearer to it than the mean: at low rates that is most of what
can be said of it. So a row may be predicted from an entry and yet be unnamed; a symbol tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.entropy import FrequencyTable, frequencies_from_weights
from lamofcbench.codecs.transform.dictionary import NONE, Dictionary
from lamofcbench.codecs.transform.estimate import FOLDS
from lamofcbench.codecs.transform.profiles import FIRST, MIDDLE
from lamofcbench.codecs.transform.weighted import Prepared

IS_LIKE = tuple(FrequencyTable(frequencies_from_weights(np.array(weights))) for weights in ((255.0, 1.0), (1.0, 1.0)))
"""Of the symbol that says whether a row is merely like its entry, in familiar and in foreign samples."""
MAX_VALUES = 3 * 2**19
"""Values that the transform of a group's unnamed rows has at most, two bytes each."""
LEAST_NAMES = 8
"""First rows of fewer names tell nothing of others."""

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Unnamed:
    """What calibration says of unnamed rows.

    Attributes:
        rows: the first row of each name, about what entries of other folds predict; no two folds have a name in common.
            Before them the first row of a sample, where these are unnamed.
        aside: the unnamed rows of each sample, ``[rows, C]``: those that no other sample has an entry for.
        where: which of the rows of a sample these are, bool ``[rows]``.
        first: whether the first rows of samples are unnamed: their place has a profile, but they are of many names.
    """

    rows: Prepared
    aside: Sequence[Matrix]
    where: Sequence[Mask]
    first: bool

    @property
    def most_directions(self) -> int:
        """As many as there are names in all folds but the largest, which are told without any of the names of it."""
        total = sum(map(len, self.rows.centred))
        largest = max(sum(map(len, self.rows.centred[fold::FOLDS])) for fold in range(FOLDS))
        return min(total - largest, MAX_VALUES // self.rows.group.width)


@dataclass(frozen=True)
class Rows:
    """The rows of a group to fit transforms to.

    Attributes:
        named: those that means and a dictionary expect.
        unnamed: those that the dictionary has no entry for; None where they are among the others.
    """

    named: Prepared
    unnamed: Unnamed | None = None

    @property
    def first_unnamed(self) -> bool:
        """Whether the first rows of samples are."""
        return self.unnamed is not None and self.unnamed.first


def first_of_names(samples: Sequence[Matrix], names: Sequence[Index], counted: Sequence[Mask]) -> tuple[Matrix, Index]:
    """The first row of each name, in the order in which they are met; and the names.

    Args:
        samples: the rows of each, ``[rows, C]``.
        names: of these rows, ``[rows]``.
        counted: which of them may have an entry, bool ``[rows]``.
    """
    met = {NONE}
    found, order = [], []
    for rows, own, may in zip(samples, names, counted, strict=True):
        distinct, at = np.unique(np.where(may, own, NONE), return_index=True)
        new = sorted(place for name, place in zip(distinct.tolist(), at.tolist(), strict=True) if name not in met)
        met.update(distinct.tolist())
        found.append(rows[new])
        order.append(own[new])
    return np.concatenate(found), np.concatenate(order)


def with_unnamed(
    rows: Prepared, of_names: tuple[Matrix, Index], names: Sequence[Index], dictionary: Dictionary, entries: Index
) -> Rows:
    """Takes unnamed rows apart from all others, if there are enough names to tell what they look like.

    Args:
        rows: of all samples.
        of_names: the first row of each name about the middle mean, ``[names, C]``; and the names.
        names: of ``rows``, ``[rows]`` each.
        dictionary: of these rows.
        entries: of each name, `NONE` where it has none.
    """
    count = len(rows.centred)
    if len(of_names[1]) < LEAST_NAMES or count < FOLDS:
        return Rows(rows)
    first_names = {int(own[0]) for own, places in zip(names, rows.index, strict=True) if FIRST in places[:1]}
    first = len(first_names) >= LEAST_NAMES
    where = [(places == MIDDLE) | (first & (places == FIRST)) for places in rows.index]
    named = replace(
        rows,
        centred=[_without(values, apart) for values, apart in zip(rows.centred, where, strict=True)],
        index=[_without(places, apart) for places, apart in zip(rows.index, where, strict=True)],
        kinds=[_without(kinds, apart) for kinds, apart in zip(rows.kinds, where, strict=True)],
    )
    dealt, places = list(rows.centred), list(rows.index)
    for fold, of_fold in enumerate(_about_other_folds(*of_names, dictionary, entries)):
        numbers = range(fold, count, FOLDS)
        for number, some in zip(numbers, np.array_split(of_fold, len(numbers)), strict=True):
            before = rows.centred[number][rows.index[number] == FIRST] if first else some[:0]
            dealt[number] = np.concatenate([before, some])
            places[number] = np.repeat([FIRST, MIDDLE], [len(before), len(some)])
    unnamed = replace(rows, centred=dealt, index=places, count=rows.profiles.count, kinds=places, shifts=())
    aside = [values[apart] for values, apart in zip(rows.centred, where, strict=True)]
    return Rows(named, Unnamed(unnamed, aside, where, first))


def _about_other_folds(first: Matrix, names: Index, dictionary: Dictionary, entries: Index) -> Iterator[Matrix]:
    """First rows of names, fold by fold, about what entries predict that they are like, but for those of their fold."""
    for at in np.array_split(np.arange(len(names)), FOLDS):
        barred = entries[names[at]]
        like, _ = dictionary.find(first[at], barred[barred != NONE])
        yield first[at] - dictionary.predictions(like)


def _without(rows: NDArray[Number], apart: Mask) -> NDArray[Number]:
    """Rows without some of them; no copy of a sample that has none of these."""
    return rows[~apart] if apart.any() else rows
