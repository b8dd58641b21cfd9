"""Means of profiles: what is expected of a row by its place alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.transform.profiles import Profiles

MAX_VALUES = 2**23
"""Values that the means of all places may have; where they would have more, there is one mean for all places."""

Matrix = NDArray[np.float32]
Wide = NDArray[np.float64]


@dataclass(frozen=True)
class Means:
    """Means by profile.

    Attributes:
        profiles: of the rows.
        values: float32 ``[P or 1, C]``.
        counts: from how many rows each was made, ``[P]``.
    """

    profiles: Profiles
    values: Matrix
    counts: NDArray[np.float64]

    def of(self, rows: int) -> Matrix:
        """The mean of each row of a sample, ``[rows, C]`` or ``[1, C]``."""
        return self.values if len(self.values) == 1 else self.values[self.profiles.of(rows)]


def profile_means(samples: Sequence[Matrix], profiles: Profiles, folds: int = 1) -> tuple[Means, list[Means]]:
    """Means by profile, each drawn to the common one as far as chance may explain what separates them.

    Args:
        samples: the rows of each, ``[rows, C]``.
        profiles: of the rows.
        folds: that samples are dealt into, one after the other.

    Returns:
        The means of all samples; and, for each fold, those of the samples of all others.
    """
    width = samples[0].shape[1]
    whole = profiles.count * width <= MAX_VALUES
    counts = np.zeros((folds, profiles.count))
    sums, squares = (np.zeros((folds, profiles.count if whole else 1, width)) for _ in range(2))
    for number, rows in enumerate(samples):
        index, fold = profiles.of(len(rows)), number % folds
        np.add.at(counts[fold], index, 1)
        values = rows.astype(np.float64)
        if not whole:
            sums[fold] += values.sum(0)
        else:
            profiles.add(sums[fold], values, index)
            profiles.add(squares[fold], np.square(values), index)
    of_all = (counts.sum(0), sums.sum(0), squares.sum(0))
    made = _means(profiles, *of_all, whole=whole)
    by_fold = zip(counts, sums, squares, strict=True) if folds > 1 else ()
    of_others = [tuple(a - b for a, b in zip(of_all, each, strict=True)) for each in by_fold]
    return made, [_means(profiles, *each, whole=whole) for each in of_others]


def _means(profiles: Profiles, counts: Wide, sums: Wide, squares: Wide, *, whole: bool) -> Means:
    """The means of rows by their number, sum and squares in each profile; of all profiles where these are not apart."""
    total = max(float(counts.sum()), 1.0)
    common = sums.sum(0) / total
    if not whole:
        return Means(profiles, common[None].astype(np.float32), counts)
    n = counts[:, None]
    means = sums / np.maximum(n, 1)
    # What rows of a profile vary by; a single one does not tell, so that it is taken to vary as all do.
    spread = np.maximum(squares.sum(0) / total - common**2, 0.0)
    within = np.maximum(squares / np.maximum(n, 1) - means**2, 0.0) * n / np.maximum(n - 1, 1)
    within = np.where(n > 1, within, spread)
    between = np.square(means - common)
    weight = np.divide(
        np.maximum(n * between - within, 0.0), n * between, out=np.zeros_like(means), where=n * between > 0
    )
    return Means(profiles, (common + weight * (means - common)).astype(np.float32), counts)
