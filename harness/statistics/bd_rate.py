"""Bjontegaard deltas: the mean difference in log rate of two curves over the qualities that both cover.

Each curve goes without the points that another of its points beats. There is no figure where a curve keeps fewer than
four points, or where the curves have no quality in common: nothing is extrapolated. How much of the joint range both
cover is stated beside the figure.

`bd_rate` states figures and is the `bjontegaard` package's. `bd_rates` is the same for a thousand draws of a bootstrap
at once, which the package would integrate one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.statistics.curves import pareto_front

MIN_POINTS = 4
"""Fewer points do not carry a piecewise cubic curve worth integrating."""


@dataclass(frozen=True)
class BDRate:
    """A Bjontegaard delta rate, or the reason why there is none.

    Attributes:
        percent: mean rate difference at equal quality; -50 means half the reference's rate. None where undefined.
        overlap: the share of the joint quality range on which both curves are defined; the figure covers that share.
        reason: why there is no figure; empty where there is one.
    """

    percent: float | None = None
    overlap: float | None = None
    reason: str = ""


def bd_rate(
    reference_rates: Sequence[float],
    reference_qualities: Sequence[float],
    rates: Sequence[float],
    qualities: Sequence[float],
) -> BDRate:
    """The mean rate difference to a reference at equal quality, by piecewise cubic (PCHIP) curves over log rate.

    A point that another point of the same curve beats at a lower or equal rate is left out first, because the rate as
    a function of quality must be single-valued.

    Args:
        reference_rates: positive rates of the reference, in any order.
        reference_qualities: of the same length; larger is better (negate a score whose direction is down).
        rates: of the codec.
        qualities: of the codec.
    """
    from bjontegaard import bd_rate as bjontegaard_rate  # imports pyplot, which takes half a second

    curves = []
    for name, r, q in (("the reference", reference_rates, reference_qualities), ("the codec", rates, qualities)):
        front = pareto_front(r, q)
        if len(front) < MIN_POINTS:
            return BDRate(reason=f"{name} has fewer than {MIN_POINTS} points of rising quality")
        curves.append(np.array(front).T)
    (reference_rate, reference_quality), (rate, quality) = curves
    low, high = max(reference_quality[0], quality[0]), min(reference_quality[-1], quality[-1])
    joint = max(reference_quality[-1], quality[-1]) - min(reference_quality[0], quality[0])
    if high <= low:
        side = (
            "every point of the codec is better"
            if quality[0] > reference_quality[0]
            else "none of its points is as good"
        )
        return BDRate(overlap=0.0, reason=f"the curves have no quality in common; {side}")
    percent = float(
        bjontegaard_rate(
            reference_rate,
            reference_quality,
            rate,
            quality,
            method="pchip",
            require_matching_points=False,
            min_overlap=0,  # the overlap is returned beside the figure instead of warned about
        )
    )
    if not np.isfinite(percent):
        return BDRate(overlap=float((high - low) / joint), reason="the curves are too steep to be integrated")
    return BDRate(percent, float((high - low) / joint))


def bd_rates(
    reference_rates: ArrayLike, reference_qualities: ArrayLike, rates: ArrayLike, qualities: ArrayLike
) -> NDArray[np.float64]:
    """`bd_rate` of a batch of pairs of curves.

    Args:
        reference_rates: ``[pairs, points]`` of the references.
        reference_qualities: of the same shape; larger is better.
        rates: ``[pairs, points]`` of the codecs; the number of points may be another.
        qualities: of the same shape.

    Returns:
        ``[pairs]``, percent; NaN where undefined.

    Example:
        >>> bd_rates([[1, 2, 4, 8]], [[1, 2, 3, 4]], [[2, 4, 8, 16]], [[1, 2, 3, 4]]).round(9).tolist()
        [100.0]
    """
    reference, codec = _fronts(reference_rates, reference_qualities), _fronts(rates, qualities)
    percents = np.full(len(reference.counts), np.nan)
    usable = (reference.counts >= MIN_POINTS) & (codec.counts >= MIN_POINTS)
    for counts in sorted(set(zip(reference.counts[usable], codec.counts[usable], strict=True))):
        rows = np.flatnonzero((reference.counts == counts[0]) & (codec.counts == counts[1]))
        curves = [
            (front.qualities[rows, :count], np.log(front.rates[rows, :count]))
            for front, count in zip((reference, codec), counts, strict=True)
        ]
        low = np.maximum(*(quality[:, 0] for quality, _ in curves))
        high = np.minimum(*(quality[:, -1] for quality, _ in curves))
        with np.errstate(all="ignore"):  # what is undefined becomes NaN below
            areas = [_pchip_integral(quality, log_rate, low, high) for quality, log_rate in curves]
            found = 100 * np.expm1((areas[1] - areas[0]) / (high - low))
        percents[rows] = np.where((high > low) & np.isfinite(found), found, np.nan)
    return percents


@dataclass(frozen=True)
class _Fronts:
    """The fronts of a batch of curves, by rising rate; of row i the first ``counts[i]`` columns hold."""

    rates: NDArray[np.float64]
    qualities: NDArray[np.float64]
    counts: NDArray[np.int64]


def _fronts(rates: ArrayLike, qualities: ArrayLike) -> _Fronts:
    """`pareto_front` of each row."""
    rates, qualities = np.asarray(rates, dtype=np.float64), np.asarray(qualities, dtype=np.float64)
    qualities = np.where(np.isfinite(qualities) & (rates > 0), qualities, -np.inf)
    order = np.lexsort((-qualities, rates), axis=-1)
    rates, qualities = np.take_along_axis(rates, order, -1), np.take_along_axis(qualities, order, -1)
    best_before = np.maximum.accumulate(qualities, axis=-1)[:, :-1]
    kept = qualities > np.concatenate([np.full((len(rates), 1), -np.inf), best_before], axis=-1)
    first = np.argsort(~kept, axis=-1, kind="stable")
    return _Fronts(np.take_along_axis(rates, first, -1), np.take_along_axis(qualities, first, -1), kept.sum(axis=-1))


def _pchip_integral(x: NDArray, y: NDArray, low: NDArray, high: NDArray) -> NDArray:
    """The integral of monotone cubic interpolants, as `scipy.interpolate.PchipInterpolator` defines them.

    Args:
        x: knots, ``[curves, knots]``, rising; at least three.
        y: values at the knots.
        low: ``[curves]``, within the knots.
        high: ``[curves]``, within the knots.

    Returns:
        ``[curves]``.
    """
    steps = np.diff(x)
    slopes = np.diff(y) / steps
    before, after = slopes[:, :-1], slopes[:, 1:]
    weights = 2 * steps[:, 1:] + steps[:, :-1], steps[:, 1:] + 2 * steps[:, :-1]
    harmonic = (weights[0] + weights[1]) / (weights[0] / before + weights[1] / after)
    inner = np.where(before * after > 0, harmonic, 0.0)
    ends = [_pchip_end(steps[:, a], steps[:, b], slopes[:, a], slopes[:, b]) for a, b in ((0, 1), (-1, -2))]
    tangents = np.concatenate([ends[0][:, None], inner, ends[1][:, None]], axis=-1)
    left, right = tangents[:, :-1], tangents[:, 1:]
    square, cube = (3 * slopes - 2 * left - right) / steps, (left + right - 2 * slopes) / steps**2

    def antiderivative(upto: NDArray) -> NDArray:
        t = np.clip(upto[:, None] - x[:, :-1], 0.0, steps)
        return (t * (y[:, :-1] + t * (left / 2 + t * (square / 3 + t * cube / 4)))).sum(axis=-1)

    return antiderivative(high) - antiderivative(low)


def _pchip_end(step: NDArray, next_step: NDArray, slope: NDArray, next_slope: NDArray) -> NDArray:
    """The tangent at an outer knot: of the parabola through three knots, held back where it would not be monotone."""
    tangent = ((2 * step + next_step) * slope - step * next_slope) / (step + next_step)
    turns = (np.sign(slope) != np.sign(next_slope)) & (np.abs(tangent) > 3 * np.abs(slope))
    return np.where(np.sign(tangent) != np.sign(slope), 0.0, np.where(turns, 3 * slope, tangent))
