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


def profile_means(samples: Sequence[Matrix], profiles: Profiles) -> Means:
    """Means by profile, each drawn to the common one as far as chance may explain what separates them.

    Args:
        samples: the rows of each, ``[rows, C]``.
        profiles: of the rows.
    """
    width = samples[0].shape[1]
    counts = np.zeros(profiles.count)
    whole = profiles.count * width <= MAX_VALUES
    sums, squares = (np.zeros((profiles.count if whole else 1, width)) for _ in range(2))
    for rows in samples:
        index = profiles.of(len(rows))
        np.add.at(counts, index, 1)
        values = rows.astype(np.float64)
        if not whole:
            sums += values.sum(0)
        else:
            profiles.add(sums, values, index)
            profiles.add(squares, np.square(values), index)
    common = sums.sum(0) / max(float(counts.sum()), 1.0)
    if not whole:
        return Means(profiles, common[None].astype(np.float32), counts)
    n = counts[:, None]
    means = sums / np.maximum(n, 1)
    within = np.maximum(squares / np.maximum(n, 1) - means**2, 0.0) * n / np.maximum(n - 1, 1)
    between = np.square(means - common)
    weight = np.divide(
        np.maximum(n * between - within, 0.0), n * between, out=np.zeros_like(means), where=n * between > 0
    )
    return Means(profiles, (common + weight * (means - common)).astype(np.float32), counts)
