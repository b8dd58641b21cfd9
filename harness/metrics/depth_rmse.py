"""Root mean squared error of depth maps, with the sums behind the other usual depth measures (Eigen et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.base import AdditiveMetric
from lamofcbench.errors import DataError, ScenarioError

EIGEN_ROWS, EIGEN_COLUMNS = (45, 471), (41, 601)
EIGEN_SIZE = (480, 640)
"""The part of NYUv2's frames that Eigen et al. judge, first and behind the last, and the frames' height and width."""

_CHOICES = {"crop": (None, "eigen"), "align": (None, "scale-and-shift"), "average": ("pixels", "images")}


class DepthRMSE(AdditiveMetric):
    """RMSE in metres over the valid pixels of all samples.

    The options below the first two give the published figure of NYUv2 with ``max_judged=False``, ``crop="eigen"``,
    ``align="scale-and-shift"``, ``clip=False`` and ``average="images"``.

    Args:
        min_depth: reference pixels at or below this are not judged (metres).
        max_depth: reference pixels beyond this are not judged (metres); predictions are clipped to both.
        max_judged: whether reference pixels of exactly ``max_depth`` are judged.
        crop: ``eigen`` to judge the part of a frame alone that Eigen et al. judge, scaled to the frame's size.
        align: ``scale-and-shift`` to compare s p + t instead of the prediction p, with the s and t of each sample that
            make its squared error over the judged pixels least.
        clip: whether predictions are clipped. Where not, AbsRel has unclipped depths too; what takes logarithms or
            ratios of depths is of clipped ones either way.
        average: ``pixels`` for the RMSE over all judged pixels, ``images`` for the mean over samples of each one's
            RMSE, those without a judged pixel left out.
    """

    name = "depth-rmse"
    direction = "down"
    range = (0.0, 3.0)
    accepts = ("map",)

    def __init__(
        self,
        min_depth: float = 1e-3,
        max_depth: float = 10.0,
        *,
        max_judged: bool = True,
        crop: str | None = None,
        align: str | None = None,
        clip: bool = True,
        average: str = "pixels",
    ) -> None:
        chosen = {"crop": crop, "align": align, "average": average}
        super().__init__(min_depth=min_depth, max_depth=max_depth, max_judged=max_judged, clip=clip, **chosen)
        for option, value in chosen.items():
            if value not in _CHOICES[option]:
                known = " or ".join(map(repr, _CHOICES[option]))
                raise ScenarioError(f"depth-rmse: option {option} is {value!r}; it should be {known}")
        self.min_depth, self.max_depth, self.max_judged = min_depth, max_depth, max_judged
        self.crop, self.align, self.clip, self.average = crop, align, clip, average
        if align is not None:  # the worst prediction is then the best constant, which is off by the relief of a room
            self.range = (0.0, 1.0)

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """Sums over the judged pixels, and their number.

        ``squared_error`` and ``pixels`` make the score. The rest make, divided by ``pixels``: AbsRel, the delta
        accuracies, log10, and with ``log_error`` and ``squared_log_error`` (natural logarithms) SILog.
        """
        prediction, reference = np.asarray(prediction, dtype=np.float64), np.asarray(reference, dtype=np.float64)
        if prediction.shape != reference.shape:
            raise DataError(f"predicted map is {prediction.shape}, the reference {reference.shape}; they must agree")
        judged = self._judged(reference)
        truth = reference[judged]
        # A broken tail may return NaN: the worst depth, not an undefined score.
        depth = np.nan_to_num(prediction[judged], nan=self.max_depth, posinf=self.max_depth, neginf=self.min_depth)
        if self.align is not None:
            depth = aligned(depth, truth)
        clipped = depth.clip(self.min_depth, self.max_depth)
        depth = clipped if self.clip else depth
        ratio = np.maximum(clipped / truth, truth / clipped)
        log_error = np.log(clipped) - np.log(truth)
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

    def _judged(self, reference: NDArray[np.float64]) -> NDArray[np.bool_]:
        judged = (reference > self.min_depth) & (reference <= self.max_depth)
        if not self.max_judged:
            judged &= reference < self.max_depth
        if self.crop == "eigen":
            inside = np.zeros_like(judged)
            inside[eigen_part(*reference.shape)] = True
            judged &= inside
        return judged

    def summands(self, statistics: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The statistics; where images are averaged, each one's error and whether it has one."""
        if self.average == "pixels":
            return statistics
        pixels = np.asarray(statistics["pixels"], dtype=np.float64)
        errors = np.sqrt(np.asarray(statistics["squared_error"], dtype=np.float64) / np.maximum(pixels, 1))
        return {"rmse": np.where(pixels > 0, errors, 0.0), "images": (pixels > 0).astype(np.float64)}

    def score(self, statistics: Mapping[str, np.ndarray]) -> float:
        """The root of squared error over pixels, of all samples or the mean of each one's.

        Raises:
            DataError: if no reference has a valid pixel.
        """
        if not np.any(statistics["pixels"]):
            raise DataError("no sample has a valid reference depth, so there is no RMSE")
        return super().score(statistics)

    def score_of_sums(self, sums: Mapping[str, np.ndarray], samples: int) -> np.ndarray:
        """The root of squared error over pixels, or the mean over images; NaN where there are none."""
        if self.average == "images":
            images = sums["images"]
            return np.where(images > 0, sums["rmse"] / np.where(images > 0, images, 1), np.nan)
        pixels = sums["pixels"]
        return np.where(pixels > 0, np.sqrt(sums["squared_error"] / np.where(pixels > 0, pixels, 1)), np.nan)


def eigen_part(height: int, width: int) -> tuple[slice, slice]:
    """The rows and columns of a frame that Eigen et al. judge, scaled to its size and rounded down.

    Example:
        >>> eigen_part(480, 640)
        (slice(45, 471, None), slice(41, 601, None))
    """
    rows = (int(height * row / EIGEN_SIZE[0]) for row in EIGEN_ROWS)
    columns = (int(width * column / EIGEN_SIZE[1]) for column in EIGEN_COLUMNS)
    return slice(*rows), slice(*columns)


def aligned(depth: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """The depths times the scale plus the shift that bring them closest to the truth, by least squares.

    Args:
        depth: finite, ``[n]``; where all are equal, the mean of the truth comes back.
        truth: ``[n]``.

    Example:
        >>> aligned(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 4.0]))
        array([0.5, 2. , 3.5])
    """
    if not depth.size:
        return depth
    centred = depth - depth.mean()
    spread = float(np.square(centred).sum())
    scale = float((centred * (truth - truth.mean())).sum()) / spread if spread > 0 else 0.0
    fitted: NDArray[np.float64] = truth.mean() + scale * centred
    return fitted
