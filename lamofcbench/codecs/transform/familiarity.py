"""Familiarity: how far the rows of a sample deviate, against what those of calibration do.

Another task on the same backbone deviates where the known one hardly does: its last rows, which hold the answer, have
tens of times the energy that calibration promises. So first, last and all other rows are looked at apart; the most
surprising of the three tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.transform.profiles import Profiles

MARGIN = 1.25
"""A sample is foreign that deviates so many times as far as the most surprising one of calibration."""
LEAST_SAMPLES = 4
"""Fewer calibration samples than these do not tell what is foreign: nothing is."""
LEAST_SHARE = 1e-3
"""Of the mean energy of a row: what a row is expected to have at least."""

_TINY = float(np.finfo(np.float32).tiny)

Matrix = NDArray[np.float32]
Wide = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Familiarity:
    """What is expected of the energy of rows.

    Attributes:
        energies: of a row by profile, float32 ``[P]``.
        most: the largest ratio of energy to what is expected that is still familiar.
    """

    energies: Matrix
    most: float

    @classmethod
    def learned(cls, centred: Sequence[Matrix], index: Sequence[Index], count: int, profiles: Profiles) -> Familiarity:
        """From calibration rows about what is expected of them, and the profile of each."""
        own = [_energies(rows) for rows in centred]
        sums, rows = np.zeros((2, len(centred), count))
        for number, (energies, numbers) in enumerate(zip(own, index, strict=True)):
            sums[number] = np.bincount(numbers, energies, count)
            rows[number] = np.bincount(numbers, minlength=count)
        total, total_rows = sums.sum(0), rows.sum(0)
        ratios = [0.0]
        for number, (energies, numbers) in enumerate(zip(own, index, strict=True)):
            expected = _means(total - sums[number], total_rows - rows[number])
            ratios.append(_surprise(energies, expected[numbers], profiles))
        most = MARGIN * max(ratios) if len(centred) >= LEAST_SAMPLES else np.inf
        most = min(max(most, 1.0), float(np.finfo(np.float32).max))
        return cls(_means(total, total_rows).astype(np.float32), most)

    def in_units(self, size: float) -> Familiarity:
        """The same of rows in units of this size."""
        energies = np.clip(self.energies / np.float64(size) ** 2, _TINY, np.finfo(np.float32).max)
        return replace(self, energies=energies.astype(np.float32))

    def is_foreign(self, centred: Matrix, index: Index, profiles: Profiles) -> bool:
        """Whether the rows of a sample, about what is expected of them, deviate farther than any of calibration."""
        return _surprise(_energies(centred), self.energies.astype(np.float64)[index], profiles) > self.most


def _energies(rows: Matrix) -> Wide:
    return np.einsum("rc,rc->r", rows, rows, dtype=np.float64)


def _means(sums: Wide, rows: Wide) -> Wide:
    """Mean energies by profile; of those that no row has, the mean of all."""
    common = float(sums.sum()) / max(float(rows.sum()), 1.0)
    means = np.where(rows > 0, np.maximum(sums, 0.0) / np.maximum(rows, 1.0), common)
    return np.maximum(means, max(LEAST_SHARE * common, _TINY))


def _surprise(energies: Wide, expected: Wide, profiles: Profiles) -> float:
    """The largest ratio of energy to what was expected, of first, last and other rows; of all where none is either."""
    apart = not profiles.places and not profiles.inner and len(energies) > 2
    parts = [slice(1), slice(-1, None), slice(1, -1)] if apart else [slice(None)]
    return max((float(energies[part].sum() / expected[part].sum()) for part in parts if len(energies[part])), default=0)
