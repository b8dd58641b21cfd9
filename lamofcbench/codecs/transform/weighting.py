"""A transform in the tail's metric, as both sides hold it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Half = NDArray[np.float16]
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Weighting:
    """A pair of transforms, to coefficients and back, for each of M kinds of rows; or one that all of these share.

    Analysis and synthesis differ, unlike those of an orthonormal transform, and so do their scales; both are in half
    precision with their rows scaled to 1, and what they are to be multiplied by stands beside them.

    Attributes:
        analyses: float16 ``[M or 1, K, C]``.
        gains: what coefficients are multiplied by behind it, float32 ``[M, K]``.
        syntheses: float16 ``[M or 1, K, C]``: rows are ``(coefficients * lifts) @ synthesis``.
        lifts: float32 ``[M, K]``.
        across: the analysis over places, float16 ``[R, R]``; None where there is none.
        back: the synthesis over places, float16 ``[R, R]``; likewise.
        units: how far a step reaches in each column, float32 ``[C]``.
    """

    analyses: Half
    gains: Matrix
    syntheses: Half
    lifts: Matrix
    across: Half | None
    back: Half | None
    units: Matrix

    def kept(self, directions: int) -> Weighting:
        """The leading directions alone."""
        leading = slice(directions)
        return replace(
            self,
            analyses=self.analyses[:, leading],
            gains=self.gains[:, leading],
            syntheses=self.syntheses[:, leading],
            lifts=self.lifts[:, leading],
        )

    def in_steps_of(self, size: float) -> Weighting:
        """The same with coefficients in units of this size."""
        factor = np.float32(size)
        return replace(self, gains=self.gains / factor, lifts=self.lifts * factor, units=self.units * factor)
