"""Quantising tensors to integer levels for codecs that want images: a piecewise linear map for each tensor name.

A map is given by its knots, values that ascend: they stand at equal distances over the range of levels, and between two
of them the map is linear.

- ``asinh``: linear up to a few deviations from the mean, logarithmic beyond, and the same curve for all tensors in
  units of their deviations, so that one quantiser step of the image codec means the same relative error everywhere.
- ``kmeans``: 256 k-means points are the published 8-bit index planes (arXiv 2506.16495), refined by interpolation where
  a codec has more than 8 bits. Points crowd where values do, so an error in the rare values is made large.
- ``affine``: two knots, the smallest and the largest calibration value. Outliers leave few levels to all others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.calibration import as_float32
from lamofcbench.codecs.kmeans import FIT_SAMPLES, collect_values, kmeans_points
from lamofcbench.features import FeatureSet

KNOTS = 256
"""How many knots a curved map has: the published number of k-means points."""
LINEAR = 4.0
"""Up to about this many standard deviations from the mean the ``asinh`` map is linear, beyond it is logarithmic."""
OUTLIERS = 0.001
"""The share of values at either end that do not count for the deviation."""
HEADROOM = 2.0
"""How far the ``asinh`` map reaches, relative to the calibration values: its far ends cost few levels."""
MIN_REACH, MAX_REACH = 16.0, 2.0**20
"""The same in deviations, at least and at most."""

QuantiserName = Literal["asinh", "kmeans", "affine"]


def learn_knots(calibration: Iterable[FeatureSet], tensors: int, quantiser: QuantiserName) -> NDArray[np.float32]:
    """The knots of each tensor name, float32 ``[tensors, knots]``, ascending.

    Args:
        calibration: the samples.
        tensors: how many tensors a sample has.
        quantiser: the kind of map, see the module.
    """
    collected = collect_values(itertools.islice(iter(calibration), FIT_SAMPLES), tensors)
    if quantiser == "kmeans":
        return np.stack([kmeans_points(values, KNOTS) for values in collected])
    if quantiser == "affine":
        return np.array([[values[0], values[-1]] if values.size else [0, 0] for values in collected], np.float32)
    return _asinh_knots(collected)


def _asinh_knots(collected: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """One curve for all tensors, in units of each one's deviation, around its mean."""
    spreads = [_spread(values) for values in collected]
    reach = max([MIN_REACH, *(HEADROOM * farthest / deviation for _, deviation, farthest in spreads if deviation > 0)])
    end = np.arcsinh(min(reach, MAX_REACH) / LINEAR)
    curve = LINEAR * np.sinh(np.linspace(-end, end, KNOTS))
    knots = np.stack([centre + deviation * curve for centre, deviation, _ in spreads])
    largest = np.finfo(np.float32).max
    return np.maximum.accumulate(np.clip(knots, -largest, largest).astype(np.float32), axis=1)


def _spread(values: NDArray[np.float32]) -> tuple[float, float, float]:
    """Mean, deviation and the largest distance from the mean; of the first two the few farthest values are no part."""
    if not values.size:
        return 0.0, 1.0, 0.0
    outliers = int(OUTLIERS * values.size)
    inner = values[outliers : values.size - outliers].astype(np.float64)
    centre, deviation = float(inner.mean()), float(inner.std())
    if deviation < 1e-12 * abs(centre):
        deviation = 0.0  # what rounding leaves of a constant
    return centre, deviation, max(float(values[-1]) - centre, centre - float(values[0]))


class Compander:
    """Maps values to levels and back.

    Args:
        knots: float32 ``[knots]``, ascending.
        bits: of a level.
    """

    def __init__(self, knots: NDArray[np.float32], bits: int) -> None:
        self._knots = knots.astype(np.float64)
        self._at = np.linspace(0, 2**bits - 1, len(knots))
        self._values = np.interp(np.arange(2**bits), self._at, self._knots).astype(np.float32)

    def levels(self, tensor: Tensor) -> NDArray[np.int16]:
        """The level of each value, in the tensor's shape; values beyond the knots get the first and the last level."""
        levels = np.interp(as_float32(tensor).reshape(-1), self._knots, self._at)
        return np.rint(levels, out=levels).astype(np.int16).reshape(tensor.shape)

    def values(self, levels: NDArray[np.int16]) -> NDArray[np.float32]:
        """The value of each level, which must be within the range of levels."""
        return self._values[levels.reshape(-1)].reshape(levels.shape)
