"""Profiles: rows that share a mean and deviations, by where they stand in their sample.

Where the number of rows of a sample varies, as it does with a prompt, the first row, the last row and all others have
profiles of their own: first tokens collect attention and hold the massive activations, last tokens carry the answer.
Where it never varies, as over the patches of an image, every place has its own, and one more serves samples of another
size; unless rows are so wide, and places so many, that their means and tables would outgrow the transform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FIRST, MIDDLE, LAST = range(3)
LEAST_SAMPLES = 8
"""A ragged axis of one size in so many calibration samples counts as one that does not vary."""
MAX_VALUES = 4_500_000
"""Values that the means of all places have at most, so that a state stays within 64 MB: as float32 they take 18 MB, and
tables of as many coefficients 9 MB, beside transforms of 36 MB."""


@dataclass(frozen=True)
class Profiles:
    """Which profile each row of a sample has.

    Attributes:
        places: over how many rows the pattern of profiles repeats; 0 where their number varies.
        has_first: whether the first row is the first of its sequence; not where rows go on from others.
        has_last: whether the last row is known to be the last of its sequence; not where others may follow.
    """

    places: int
    has_first: bool = True
    has_last: bool = True

    @property
    def count(self) -> int:
        """P, the number of profiles."""
        return self.places + 1 if self.places else 3

    @property
    def common(self) -> int:
        """The profile of rows about which nothing is known but their tensors."""
        return self.places or MIDDLE

    def fits(self, rows: int) -> bool:
        """Whether a sample of so many rows is made of whole patterns of places."""
        return self.has_first and self.places > 0 and rows % self.places == 0

    def of(self, rows: int) -> NDArray[np.intp]:
        """The profile of each row of a sample, ``[rows]``."""
        if self.fits(rows):
            return np.tile(np.arange(self.places), rows // self.places)
        profiles = np.full(rows, self.common, np.intp)
        if not self.places and self.has_first:
            profiles[:1] = FIRST
        if not self.places and self.has_last:
            profiles[-1:] = LAST
        return profiles

    def add(self, sums: NDArray[np.float64], rows: NDArray[np.float64], index: NDArray[np.intp]) -> None:
        """Adds rows to the sums of their profiles.

        Args:
            sums: ``[P or more, C]``, written to.
            rows: of one sample, ``[rows, C]``.
            index: the profile of each.
        """
        if self.fits(len(rows)):  # one place after the other, however often
            sums[: self.places] += rows.reshape(len(rows) // self.places, self.places, rows.shape[1]).sum(0)
            return
        for profile in np.unique(index):
            sums[profile] += rows[index == profile].sum(0)


def find_profiles(shapes: Sequence[tuple[int, ...]], ragged: Sequence[bool], width: int) -> Profiles:
    """The profiles of a group of tensors.

    Args:
        shapes: over which the rows of each calibration sample run.
        ragged: whether the specs leave the size of each of these axes open.
        width: C, the number of columns; places that `MAX_VALUES` has no room for have no profiles.

    Example:
        >>> find_profiles([(2, 41)] * 20, [True, False], 16).places
        82
        >>> find_profiles([(n, 41) for n in range(20)], [True, False], 16).places
        41
        >>> find_profiles([(n,) for n in range(20)], [True], 16).places
        0
        >>> find_profiles([(2, 3077)] * 50, [False, True], 16384).places
        0
    """
    places, most = 1, max(MAX_VALUES // max(width, 1), 3)  # no fewer profiles than there are without places
    for axis in reversed(range(len(ragged))):
        sizes = {shape[axis] for shape in shapes}
        varies = len(sizes) > 1 or (ragged[axis] and len(shapes) < LEAST_SAMPLES)
        if varies or Profiles(places * max(sizes)).count > most:
            return Profiles(places if axis < len(ragged) - 1 else 0)
        places *= sizes.pop()
    return Profiles(places)


def rows_of(shape: Sequence[int]) -> int:
    """How many rows run over these sizes."""
    return math.prod(shape)
