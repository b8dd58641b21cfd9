"""Rows in the tail's metric: a weighting applied to the rows of samples, and undone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lamofcbench.codecs.transform.estimate import transform_rows
from lamofcbench.codecs.transform.profiles import Profiles
from lamofcbench.codecs.transform.weighting import Weighting

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]


class WeightedTransform:
    """Applies a weighting to rows.

    Args:
        weighting: what is applied.
        profiles: of the places of rows.
    """

    def __init__(self, weighting: Weighting, profiles: Profiles) -> None:
        self.profiles, self.units = profiles, weighting.units
        self._analyses = torch.from_numpy(weighting.analyses.astype(np.float32) * weighting.gains[:, :, None])
        self._syntheses = torch.from_numpy(weighting.syntheses.astype(np.float32) * weighting.lifts[:, :, None])
        self._across = None if weighting.across is None else weighting.across.astype(np.float32)
        self._back = None if weighting.back is None else weighting.back.astype(np.float32)

    def analyse(self, rows: Matrix, kinds: Index) -> Matrix:
        """Coefficients ``[rows, K]`` of rows of these kinds."""
        return transform_rows(self._by_kind(rows, kinds, self._analyses.transpose(1, 2)), self._across, self.profiles)

    def synthesise(self, coefficients: Matrix, kinds: Index) -> Matrix:
        """Rows ``[rows, C]``."""
        return self._by_kind(transform_rows(coefficients, self._back, self.profiles), kinds, self._syntheses)

    def _by_kind(self, rows: Matrix, kinds: Index, matrices: torch.Tensor) -> Matrix:
        values = torch.from_numpy(np.ascontiguousarray(rows))
        if len(matrices) == 1:
            return (values @ matrices[0]).numpy()
        result = np.zeros((len(rows), matrices.shape[2]), np.float32)
        for kind in np.unique(kinds):
            chosen = kinds == kind
            result[chosen] = (values[torch.from_numpy(chosen)] @ matrices[kind]).numpy()
        return result
