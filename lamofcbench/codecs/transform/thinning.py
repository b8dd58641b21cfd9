"""Thinning: where the rows of all calibration samples together are too many for memory, some of them are fitted to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_VALUES = 2**28
"""Values of calibration rows, in single precision, that a group of tensors is fitted to: 1 GiB."""

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Thinning:
    """Which rows of calibration samples are kept.

    Attributes:
        every: the first and the last row of each sample are kept, and each so many-th between; all where it is 1. Where
            places have profiles, each so many-th pattern of places is.
        places: over how many rows the pattern of places repeats; 0 where their number varies.
    """

    every: int
    places: int

    @classmethod
    def of(cls, rows: Sequence[int], width: int, places: int) -> Thinning:
        """The least thinning, by a power of two, that leaves `MAX_VALUES`; or two rows a sample, if these are more.

        Args:
            rows: how many each sample has.
            width: C, the number of columns.
            places: as above; each sample is made of whole patterns.
        """
        thinning, left = cls(1, places), sum(rows)
        while left * width > MAX_VALUES and thinning.every < max(rows):
            thinning = cls(2 * thinning.every, places)
            left = sum(len(thinning._of(number, count)) for number, count in enumerate(rows))
        return thinning

    def kept(self, samples: Iterable[Matrix]) -> list[Matrix]:
        """The rows ``[rows, C]`` of samples that are kept; thinned samples of which none is kept are left out."""
        if self.every == 1:
            return list(samples)
        left = (rows[self._of(number, len(rows))] for number, rows in enumerate(samples))
        return [rows for rows in left if len(rows)]

    def weights(self, rows: int) -> NDArray[np.float64]:
        """How many rows each of those stands for that are kept of a sample, ``[rows]``."""
        weights = np.full(rows, float(self.every))
        if not self.places:
            weights[:1] = weights[-1:] = 1.0
        return weights

    def _of(self, number: int, rows: int) -> Index:
        """Which rows are kept of a sample of this number."""
        # Samples start one after the other: else all would be thinned to the same columns of an image, or crops of it.
        every = np.arange(-number % self.every, rows // max(self.places, 1), self.every)
        if self.places:
            return (every[:, None] * self.places + np.arange(self.places)).reshape(-1)
        return np.unique(np.concatenate([np.arange(rows)[:1], every, np.arange(rows)[-1:]]))
