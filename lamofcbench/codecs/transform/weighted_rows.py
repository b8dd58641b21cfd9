"""Rows in the tail's metric: a weighting applied to the rows of samples, and undone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lamofcbench.codecs.sensitivity import kinds_of
from lamofcbench.codecs.transform.estimate import transform_rows
from lamofcbench.codecs.transform.profiles import Profiles
from lamofcbench.codecs.transform.weighting import Weighting

Matrix = NDArray[np.float32]


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

    def analyse(self, rows: Matrix) -> Matrix:
        """Coefficients ``[rows, K]``."""
        return transform_rows(self._by_kind(rows, self._analyses.transpose(1, 2)), self._across, self.profiles)

    def synthesise(self, coefficients: Matrix) -> Matrix:
        """Rows ``[rows, C]``."""
        return self._by_kind(transform_rows(coefficients, self._back, self.profiles), self._syntheses)

    def _by_kind(self, rows: Matrix, matrices: torch.Tensor) -> Matrix:
        values = torch.from_numpy(np.ascontiguousarray(rows))
        if len(matrices) == 1:
            return (values @ matrices[0]).numpy()
        kinds = kinds_of(self.profiles, len(rows))
        result = np.zeros((len(rows), matrices.shape[2]), np.float32)
        for kind in np.unique(kinds):
            chosen = kinds == kind
            result[chosen] = (values[torch.from_numpy(chosen)] @ matrices[kind]).numpy()
        return result
