"""Paired bootstrap over samples: the same draws for the codec, the anchor and the floor.

Because every result of a scenario covers the same samples in the same order, drawing the samples once and scoring all
results on each draw (`Metric.score_draws`) keeps what they share (hard samples are hard for all) out of the intervals
of their differences.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
SEED = 0
CONFIDENCE = 0.95
LEAST_SAMPLES, LEAST_DRAWS = 5, 20
"""Fewer samples, or fewer draws of them, tell nothing of how a figure scatters: there is no interval."""


def resample_indices(samples: int, resamples: int = RESAMPLES, seed: int = SEED, stream: str = "") -> NDArray[np.int64]:
    """Which samples each draw holds: ``[resamples, samples]`` positions, drawn with replacement.

    The same arguments give the same draws on every machine.

    Args:
        samples: how many there are to draw from, and how many each draw holds. Of fewer than `LEAST_SAMPLES` there are
            no draws.
        resamples: how many draws.
        seed: of the generator.
        stream: makes draws independent of those of another stream, such as another scenario's.
    """
    generator = np.random.default_rng([seed, zlib.crc32(stream.encode())])
    return generator.integers(0, samples, size=(resamples if samples >= LEAST_SAMPLES else 0, samples))


def draw_counts(indices: NDArray[np.int64], samples: int) -> NDArray[np.float64]:
    """How often each draw holds each sample, ``[resamples, samples]``: sums over draws are products with it.

    Example:
        >>> draw_counts(np.array([[0, 0], [0, 1]]), 2).tolist()
        [[2.0, 0.0], [1.0, 1.0]]
    """
    draws = len(indices)
    places = indices + samples * np.arange(draws)[:, None]
    return np.bincount(places.ravel(), minlength=draws * samples).reshape(draws, samples).astype(np.float64)


def resample_sums(values: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of each draw, ``[resamples, ...]``, of values ``[samples, ...]``; `draw_counts` gives the counts."""
    sums: NDArray[np.float64] = np.tensordot(counts, values, axes=1)
    return sums


def bootstrap_ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The ratio of sums of each draw, such as coded bits over raw bits; both inputs ``[samples]``.

    NaN where the denominator is zero: the draw holds nothing but samples without a feature point.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = resample_sums(numerator, counts) / resample_sums(denominator, counts)
    return np.where(np.isfinite(ratios), ratios, np.nan)


def interval(draws: NDArray[np.float64], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """The central percentile interval; None of too few draws, or where more than a tenth of them are undefined.

    Example:
        >>> interval(np.arange(101.0), confidence=0.5)
        (25.0, 75.0)
    """
    finite = draws[np.isfinite(draws)]
    if len(finite) < max(LEAST_DRAWS, 0.9 * len(draws)):
        return None
    tail = 50 * (1 - confidence)
    low, high = np.percentile(finite, [tail, 100 - tail])
    return float(low), float(high)
