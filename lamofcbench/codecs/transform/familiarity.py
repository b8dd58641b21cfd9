"""Familiarity: how much of a sample lies where calibration has next to nothing, against what it has there itself.

Another task on the same backbone may have no more energy than the known one; it has it elsewhere. So what the leading
directions of calibration take is left out, and the rest is compared with what is expected of it, of first, last and all
other rows apart. What a row is predicted from makes no difference to that: words that calibration lacks are a surprise
too. Groups of tensors are heard together, for single ones vary more than samples do.

A codec that does no more for what surprises it than code it with care asks for the most surprising kind of rows; one
that codes another task as if it knew nothing of its tail, for what many rows say (`Rule`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.transform.profiles import Profiles

MARGIN, MARGIN_OF_ONE = 1.25, 4.0
"""A sample is foreign that is so many times as surprising as the most surprising one of calibration; and more where
there are few of these, by so much over their number."""
LEAST_SAMPLES = 4
"""Fewer calibration samples than these do not tell what is foreign: nothing is."""
FEW_ROWS = 8
"""Of fewer rows than these, as of chunks of a stream, each may be one of the few that are like none: they have to be as
much more surprising as there are fewer."""
TELLING = 0.4
"""Of the rows of a sample: so many have to tell that it is foreign, where the rule is that many do."""
USUAL_SHARE = 0.9
"""Of the energy of calibration rows: what the directions take that are left out."""
LEAST_SHARE = 1e-3
"""Of the mean energy of a row: what a row is expected to have beyond these directions at least."""

_LARGEST = float(np.finfo(np.float32).max)
_TINY = float(np.finfo(np.float32).tiny)

Matrix = NDArray[np.float32]
Wide = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]


def parts_of(profiles: Profiles) -> int:
    """How many kinds of rows are looked at apart: first, middle and last ones, or all places together."""
    return 1 if profiles.places else profiles.count


@dataclass(frozen=True)
class Energies:
    """Of the rows of calibration samples.

    Attributes:
        kinds: of the rows of each sample, ``[rows]``.
        whole: their energies, ``[rows]`` each.
        leading: their coefficients by the first directions, ``[rows, directions]`` each.
        count: how many kinds of rows there are.
        unnamed: which rows are those of new words (`lamofcbench.codecs.transform.unnamed`), bool ``[rows]`` each.
        size: the unit, in those of ``whole`` and ``leading``.
    """

    kinds: Sequence[Index]
    whole: Sequence[Wide]
    leading: Sequence[Matrix]
    count: int
    unnamed: Sequence[Mask]
    size: float = 1.0

    @classmethod
    def of(
        cls,
        centred: Sequence[Matrix],
        coefficients: Sequence[Matrix],
        profiles: Profiles,
        unnamed: Sequence[Mask] | None = None,
    ) -> Energies:
        """Measures rows, with as many directions as `USUAL_SHARE` needs.

        Args:
            centred: the rows of each sample about what is expected of them, ``[rows, C]``.
            coefficients: of each, by directions that were not fitted to it, ``[rows, K]``.
            profiles: of the places of rows.
            unnamed: which of them are those of new words; None where no row is.
        """
        energy = sum(float(np.square(rows, dtype=np.float64).sum()) for rows in centred)
        by_direction = sum(np.square(values, dtype=np.float64).sum(0) for values in coefficients)
        reached = np.flatnonzero(np.cumsum(by_direction) >= USUAL_SHARE * energy)
        directions = int(reached[0]) + 1 if len(reached) and energy > 0 else np.size(by_direction)
        return cls(
            [_kinds(len(values), profiles) for values in centred],
            [np.square(values, dtype=np.float64).sum(1) for values in centred],
            [values[:, :directions] for values in coefficients],
            parts_of(profiles),
            [np.zeros(len(values), bool) for values in centred] if unnamed is None else unnamed,
        )

    @property
    def directions(self) -> int:
        """How many directions take `USUAL_SHARE` of the energy, as far as there are so many."""
        return self.leading[0].shape[1] if self.leading else 0

    def in_units(self, size: float) -> Energies:
        """The same of rows in units of this size."""
        return replace(self, size=self.size * size)

    def beyond(self, directions: int) -> list[Wide]:
        """The energy of each row but for that of its first coefficients; over places, only their sums count."""
        taken = (np.square(values[:, :directions], dtype=np.float64).sum(1) for values in self.leading)
        return [(whole - own) / self.size**2 for whole, own in zip(self.whole, taken, strict=True)]


NOTHING = Energies((), (), (), 1, ())
"""Of no samples."""


class Rule(Enum):
    """What makes one figure of the rows of a sample.

    Attributes:
        WORST_KIND: the largest ratio of the mean energy of rows of a kind to what is expected of it: any kind may tell
            alone.
        MANY_ROWS: the ratio of the energy of a row to what is expected of its kind that two rows in five reach. Of a
            known task, a few may be like none of calibration, those of new words and what follows from them; of another
            one, half and more. In what is expected, those of new words have no say, for few of them have most of the
            energy. Where places are all of one kind, their energies are known in sums alone, which are taken.
    """

    WORST_KIND = auto()
    MANY_ROWS = auto()

    def surprise(self, beyond: Wide, kinds: Index, expected: Wide) -> float:
        """How surprising a sample is.

        Args:
            beyond: energies of its rows, ``[rows]``.
            kinds: of these.
            expected: of a row, by kind.
        """
        if self is Rule.WORST_KIND or len(expected) == 1:
            return _surprise(*_sums(beyond, kinds, len(expected)), expected)
        if not len(beyond):
            return 0.0
        with np.errstate(over="ignore"):
            ratios = np.maximum(beyond, 0.0) / expected[kinds]
        told = float(np.quantile(ratios, 1.0 - TELLING, method="lower"))  # a ratio itself, for some may be infinite
        return told * min(len(beyond) / FEW_ROWS, 1.0)


LEAST_SURPRISE = {Rule.WORST_KIND: 1.0, Rule.MANY_ROWS: 2.0}
"""What surprises no more is familiar, whatever calibration says. New words change the rows behind them, too, of which a
calibration whose words all come again knows nothing."""


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
    def learned(cls, known: Energies, most_directions: int, rule: Rule) -> tuple[Familiarity, Wide]:
        """What calibration says, with so many directions at most; and how surprising its samples are, ``[S]``.

        Each sample is compared with all others.
        """
        directions = min(known.directions, most_directions)
        beyond = known.beyond(directions)
        asked = [~new if rule is Rule.MANY_ROWS else np.ones_like(new) for new in known.unnamed]
        sums = [
            _sums(own[tell], kinds[tell], known.count)
            for own, kinds, tell in zip(beyond, known.kinds, asked, strict=True)
        ]
        energy = sum(float(whole[tell].sum()) for whole, tell in zip(known.whole, asked, strict=True)) / known.size**2
        least = LEAST_SHARE * energy / max(sum(int(tell.sum()) for tell in asked), 1)
        total, total_rows = (np.sum([each[part] for each in sums], axis=0) for part in (0, 1))
        surprises = [
            rule.surprise(own, kinds, _expected(total - less, total_rows - rows, least))
            for own, kinds, (less, rows) in zip(beyond, known.kinds, sums, strict=True)
        ]
        expected = np.clip(_expected(total, total_rows, least), _TINY, _LARGEST)
        return cls(expected.astype(np.float32), directions), np.array(surprises)

    def surprise(self, beyond: Wide, profiles: Profiles, rule: Rule) -> float:
        """How many times as much as expected a sample has beyond the directions.

        Args:
            beyond: energies of its rows there, ``[rows]``.
            profiles: of the places of rows.
            rule: makes one figure of them.
        """
        return rule.surprise(beyond, _kinds(len(beyond), profiles), self.expected.astype(np.float64))


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


def most_familiar(surprises: Wide, rule: Rule) -> float:
    """How surprising a sample may be that is still familiar, from what calibration samples are by a rule, ``[S]``."""
    if len(surprises) < LEAST_SAMPLES:
        return _LARGEST
    margin = MARGIN + MARGIN_OF_ONE / len(surprises)
    return min(max(margin * float(surprises.max()), LEAST_SURPRISE[rule]), _LARGEST)


def _kinds(rows: int, profiles: Profiles) -> NDArray[np.intp]:
    """The kind of each row of a sample of so many."""
    return np.zeros(rows, np.intp) if profiles.places else profiles.of(rows)


def _sums(energies: Wide, kinds: Index, count: int) -> tuple[Wide, Wide]:
    """The energies of rows by kind, none below zero, and how many rows there are."""
    own: Wide = np.bincount(kinds, energies, count)  # type: ignore[assignment]  # as of its weights
    return np.maximum(own, 0.0), np.bincount(kinds, minlength=count).astype(np.float64)


def _expected(sums: Wide, rows: Wide, least: float) -> Wide:
    """Mean energies by kind; of those that no row has, the mean of all."""
    common = float(sums.sum()) / max(float(rows.sum()), 1.0)
    return np.maximum(np.where(rows > 0, sums / np.maximum(rows, 1.0), common), max(least, _TINY))


def _surprise(own: Wide, rows: Wide, expected: Wide) -> float:
    """The largest ratio of energy to what was expected, over the kinds of rows that there are."""
    with np.errstate(over="ignore"):
        return float((own / (np.maximum(rows, 1.0) * expected)).max(initial=0.0, where=rows > 0))
