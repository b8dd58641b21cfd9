"""Familiarity: how much of a sample lies where calibration has next to nothing, against what it has there itself.

Another task on the same backbone may have no more energy than the known one; it has it elsewhere. So what the leading
directions of calibration take is left out, and the rest is compared with what is expected of it. First, last and all
other rows are looked at apart, the most surprising of the three tells: the last ones hold the answer. What a row is
predicted from makes no difference to what is expected of it: words that calibration lacks are a surprise too. Groups of
tensors are heard together, for single ones vary more than samples do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.transform.profiles import Profiles

MARGIN, MARGIN_OF_ONE = 1.25, 4.0
"""A sample is foreign that is so many times as surprising as the most surprising one of calibration; and more where
there are few of these, by so much over their number."""
LEAST_SAMPLES = 4
"""Fewer calibration samples than these do not tell what is foreign: nothing is."""
USUAL_SHARE = 0.9
"""Of the energy of calibration rows: what the directions take that are left out."""
LEAST_SHARE = 1e-3
"""Of the mean energy of a row: what a row is expected to have beyond these directions at least."""

_LARGEST = float(np.finfo(np.float32).max)
_TINY = float(np.finfo(np.float32).tiny)

Matrix = NDArray[np.float32]
Wide = NDArray[np.float64]


def parts_of(profiles: Profiles) -> int:
    """How many kinds of rows are looked at apart: first, middle and last ones, or all places together."""
    return 1 if profiles.places else profiles.count


@dataclass(frozen=True)
class Energies:
    """Of the rows of calibration samples, by kind.

    Attributes:
        rows: how many there are, ``[S, kinds]``.
        whole: their energy, ``[S, kinds]``.
        taken: what the first directions take of it, none of them, one, two and so on, ``[S, kinds, directions + 1]``.
    """

    rows: Wide
    whole: Wide
    taken: Wide

    @classmethod
    def of(cls, centred: Sequence[Matrix], coefficients: Sequence[Matrix], profiles: Profiles) -> Energies:
        """Measures rows, with as many directions as `USUAL_SHARE` needs.

        Args:
            centred: the rows of each sample about what is expected of them, ``[rows, C]``.
            coefficients: of each, by directions that were not fitted to it, ``[rows, K]``.
            profiles: of the places of rows.
        """
        energy = sum(float(np.square(rows, dtype=np.float64).sum()) for rows in centred)
        by_direction = sum(np.square(values, dtype=np.float64).sum(0) for values in coefficients)
        reached = np.flatnonzero(np.cumsum(by_direction) >= USUAL_SHARE * energy)
        directions = int(reached[0]) + 1 if len(reached) and energy > 0 else np.size(by_direction)
        kinds = parts_of(profiles)
        rows, whole = np.zeros((2, len(centred), kinds))
        taken = np.zeros((len(centred), kinds, directions + 1))
        for number, (values, found) in enumerate(zip(centred, coefficients, strict=True)):
            kind = _kinds(len(values), profiles)
            rows[number] = np.bincount(kind, minlength=kinds)
            whole[number] = np.bincount(kind, np.square(values, dtype=np.float64).sum(1), kinds)
            squares = np.square(found[:, :directions], dtype=np.float64)
            for each in np.unique(kind):
                taken[number, each, 1:] = np.cumsum(squares[kind == each].sum(0))
        return cls(rows, whole, taken)

    @property
    def directions(self) -> int:
        """How many directions take `USUAL_SHARE` of the energy, as far as there are so many."""
        return self.taken.shape[2] - 1

    def in_units(self, size: float) -> Energies:
        """The same of rows in units of this size."""
        return replace(self, whole=self.whole / size**2, taken=self.taken / size**2)


NOTHING = Energies(np.zeros((0, 1)), np.zeros((0, 1)), np.zeros((0, 1, 1)))
"""Of no samples."""


@dataclass(frozen=True)
class Familiarity:
    """What is expected of the rows of a sample beyond the usual directions.

    Attributes:
        expected: energy of a row there by kind, float32 ``[kinds]``.
        directions: how many are left out.
    """

    expected: Matrix
    directions: int

    @classmethod
    def learned(cls, known: Energies, most_directions: int) -> tuple[Familiarity, Wide]:
        """What calibration says, with so many directions at most; and how surprising its samples are, ``[S]``.

        Each sample is compared with all others.
        """
        directions = min(known.directions, most_directions)
        beyond = np.maximum(known.whole - known.taken[:, :, directions], 0.0)
        least = LEAST_SHARE * float(known.whole.sum()) / max(float(known.rows.sum()), 1.0)
        total, total_rows = beyond.sum(0), known.rows.sum(0)
        surprises = [
            _surprise(own, rows, _expected(total - own, total_rows - rows, least))
            for own, rows in zip(beyond, known.rows, strict=True)
        ]
        expected = np.clip(_expected(total, total_rows, least), _TINY, _LARGEST)
        return cls(expected.astype(np.float32), directions), np.array(surprises)

    def surprise(self, beyond: Wide, profiles: Profiles) -> float:
        """How many times as much as expected a sample has beyond the directions.

        Args:
            beyond: energies of its rows there, ``[rows]``; only their sums over rows of a kind count.
            profiles: of the places of rows.
        """
        kinds = len(self.expected)
        kind = _kinds(len(beyond), profiles)
        rows = np.bincount(kind, minlength=kinds).astype(np.float64)
        own: Wide = np.bincount(kind, beyond, kinds)  # type: ignore[assignment]  # as of its weights
        return _surprise(np.maximum(own, 0.0), rows, self.expected.astype(np.float64))


def energies_beyond(rows: Matrix, coefficients: Matrix) -> Wide:
    """The energy of each row, ``[rows, C]``, but for that of its coefficients, ``[rows, directions]``.

    In single precision, which takes a third of the time; not a number where rows are too large for that.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        whole, taken = (np.einsum("rc,rc->r", values, values) for values in (rows, coefficients))
        return whole.astype(np.float64) - taken


def together(surprises: Sequence[Wide] | Wide) -> Wide:
    """How surprising samples are, ``[S]``, of how surprising their groups of tensors are, ``[groups, S]``.

    Of groups that were fitted to other samples than each other, for memory, the most surprising ones stand for one
    sample, the next for another, and so on: no sample surprises more than these.
    """
    fewest = min(map(len, surprises), default=0)
    if any(len(own) > fewest for own in surprises):
        surprises = [np.sort(own)[::-1][:fewest] for own in surprises]
    with np.errstate(over="ignore"):
        return np.asarray(np.mean(surprises, axis=0))


def most_familiar(surprises: Wide) -> float:
    """How surprising a sample may be that is still familiar, from what calibration samples are, ``[S]``."""
    if len(surprises) < LEAST_SAMPLES:
        return _LARGEST
    margin = MARGIN + MARGIN_OF_ONE / len(surprises)
    return min(max(margin * float(surprises.max()), 1.0), _LARGEST)


def _kinds(rows: int, profiles: Profiles) -> NDArray[np.intp]:
    """The kind of each row of a sample of so many."""
    return np.zeros(rows, np.intp) if profiles.places else profiles.of(rows)


def _expected(sums: Wide, rows: Wide, least: float) -> Wide:
    """Mean energies by kind; of those that no row has, the mean of all."""
    common = float(sums.sum()) / max(float(rows.sum()), 1.0)
    return np.maximum(np.where(rows > 0, sums / np.maximum(rows, 1.0), common), max(least, _TINY))


def _surprise(own: Wide, rows: Wide, expected: Wide) -> float:
    """The largest ratio of energy to what was expected, over the kinds of rows that there are."""
    with np.errstate(over="ignore"):
        return float((own / (np.maximum(rows, 1.0) * expected)).max(initial=0.0, where=rows > 0))
