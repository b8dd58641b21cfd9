"""Root mean squared error of depth maps, with the sums behind the other usual depth measures (Eigen et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.metrics.base import AdditiveMetric
from lamofcbench.errors import DataError


class DepthRMSE(AdditiveMetric):
    """RMSE in metres over the valid pixels of all samples.

    Args:
        min_depth: reference pixels at or below this are not judged (metres).
        max_depth: reference pixels beyond this are not judged (metres); predictions are clipped to both.
    """

    name = "depth-rmse"
    direction = "down"
    range = (0.0, 3.0)
    accepts = ("map",)

    def __init__(self, min_depth: float = 1e-3, max_depth: float = 10.0) -> None:
        super().__init__(min_depth=min_depth, max_depth=max_depth)
        self.min_depth, self.max_depth = min_depth, max_depth

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """Sums over the judged pixels, and their number.

        ``squared_error`` and ``pixels`` make the score. The rest make, divided by ``pixels``: AbsRel, the delta
        accuracies, log10, and with ``log_error`` and ``squared_log_error`` (natural logarithms) SILog.
        """
        prediction, reference = np.asarray(prediction, dtype=np.float64), np.asarray(reference, dtype=np.float64)
        if prediction.shape != reference.shape:
            raise DataError(f"predicted map is {prediction.shape}, the reference {reference.shape}; they must agree")
        judged = (reference > self.min_depth) & (reference <= self.max_depth)
        truth = reference[judged]
        # A broken tail may return NaN: the worst depth, not an undefined score.
        depth = np.nan_to_num(prediction[judged], nan=self.max_depth).clip(self.min_depth, self.max_depth)
        ratio = np.maximum(depth / truth, truth / depth)
        log_error = np.log(depth) - np.log(truth)
        sums = {
            "squared_error": np.square(depth - truth),
            "absolute_relative_error": np.abs(depth - truth) / truth,
            "delta1": ratio < 1.25,
            "delta2": ratio < 1.25**2,
            "delta3": ratio < 1.25**3,
            "log10_error": np.abs(log_error) / np.log(10),
            "log_error": log_error,
            "squared_log_error": np.square(log_error),
        }
        return {"pixels": float(truth.size), **{name: float(np.sum(values)) for name, values in sums.items()}}

    def score(self, statistics: Mapping[str, np.ndarray]) -> float:
        """The root of squared error over pixels.

        Raises:
            DataError: if no reference has a valid pixel.
        """
        if not np.any(statistics["pixels"]):
            raise DataError("no sample has a valid reference depth, so there is no RMSE")
        return super().score(statistics)

    def score_of_sums(self, sums: Mapping[str, np.ndarray], samples: int) -> np.ndarray:
        """The root of squared error over pixels; NaN where there are no pixels."""
        pixels = sums["pixels"]
        return np.where(pixels > 0, np.sqrt(sums["squared_error"] / np.where(pixels > 0, pixels, 1)), np.nan)
