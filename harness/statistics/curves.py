"""What a rate-score curve is worth: retention, and the rate that keeps p % of the score.

The rules, in one place:

- *Retention* is ``(score - floor) / (anchor - floor)``: 0 for the calibration mean, 1 for uncoded features, whatever
  the metric's direction.
- *EBPFP@p* is the lowest rate at which the curve keeps p % of the anchor's score. The curve is the isotonic
  (least-squares monotone) fit of retention over rate, so a lucky point does not count; between two points it is
  piecewise linear in log2 of the rate.
- Uncoded features stand at the end of every curve, at 32: a codec whose own points never keep p % costs 32, and no
  curve is drawn between its last point and the end.
- Where even the lowest point keeps p %, the figure is that point's rate and only an upper bound (``<=``).
- *EBPFP@x nats* and *EBPFP@x error* are the same for fidelity: the lowest rate whose isotonic fit of the responses'
  divergence, nats of logits or normalised error of values, is at most x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNCODED_EBPFP = 32.0
"""The rate of uncoded features, by the definition of EBPFP."""

_TOLERANCE = 1e-12  # retention 0.95 computed from decimals may come out as 0.9499999999999998

Bound = Literal["exact", "at most", "never"]
"""Whether a rate is interpolated, an upper bound (held even at the lowest point), or stands for "never reached"."""


def joint_bound(bounds: Sequence[Bound | None]) -> Bound:
    """What kind of figure a mean of rates is: an upper bound where one of them is, never reached where none is.

    Example:
        >>> joint_bound(["exact", "at most", "never"]), joint_bound(["never", "never"]), joint_bound(["never", "exact"])
        ('at most', 'never', 'exact')
    """
    if "at most" in bounds:
        return "at most"
    return "never" if set(bounds) == {"never"} else "exact"


def keeps(retained: float | None, share: float) -> bool:
    """Whether a retention is at least a share of the score, up to rounding; what is not known is not.

    Example:
        >>> keeps((58 - 39) / (59 - 39), 0.95), keeps(0.9499, 0.95), keeps(None, 0.95)
        (True, False, False)
    """
    return retained is not None and retained >= share - _TOLERANCE


def retention(score: ArrayLike, anchor: ArrayLike, floor: ArrayLike, direction: Literal["up", "down"]) -> NDArray:
    """The share of the anchor's score that is left; NaN where the anchor is not better than the floor.

    Args:
        score: any shape that broadcasts with the two others.
        anchor: the score with uncoded features.
        floor: the score with the calibration mean in place of the features.
        direction: decides which of anchor and floor has to be the better one.

    Example:
        >>> float(retention(0.5, anchor=1.0, floor=0.0, direction="up"))
        0.5
        >>> float(retention(0.5, anchor=0.0, floor=1.0, direction="down"))  # word error rates
        0.5
    """
    score, anchor, floor = (np.asarray(value, dtype=np.float64) for value in (score, anchor, floor))
    span = anchor - floor
    usable = span > 0 if direction == "up" else span < 0
    return np.where(usable, (score - floor) / np.where(usable, span, 1.0), np.nan)


def isotonic_fit(values: ArrayLike) -> NDArray:
    """The nondecreasing least-squares fit along the last axis, equal weights.

    Uses the min-max form ``fit[i] = max over j <= i of min over k >= i of mean(values[j..k])``, which works on a whole
    batch of curves at once; curves have a handful of points, so its cubic cost does not matter.

    Args:
        values: ``[..., points]``, in the order of rising rate.

    Returns:
        Float64 array of the same shape.

    Example:
        >>> isotonic_fit([0.2, 0.6, 0.4, 0.9]).tolist()
        [0.2, 0.5, 0.5, 0.9]
    """
    values = np.asarray(values, dtype=np.float64)
    points = values.shape[-1]
    fit = np.full(values.shape, -np.inf)
    for first in range(points):
        lengths = np.arange(1, points - first + 1)
        means = np.cumsum(values[..., first:], axis=-1) / lengths  # mean(values[first..k]) for every k
        lowest = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]
        fit[..., first:] = np.maximum(fit[..., first:], lowest)
    return fit


def by_rate(rates: ArrayLike, retentions: ArrayLike) -> tuple[NDArray, NDArray]:
    """Rates and the isotonic fit of retention, both in the order of rising rate.

    Points of the same rate are put in falling order of retention, which makes the fit pool them to their mean.

    Args:
        rates: ``[..., points]``, positive.
        retentions: ``[..., points]``.
    """
    rates, retentions = np.asarray(rates, dtype=np.float64), np.asarray(retentions, dtype=np.float64)
    order = np.lexsort((-retentions, rates), axis=-1)
    return np.take_along_axis(rates, order, -1), isotonic_fit(np.take_along_axis(retentions, order, -1))


def rates_at_retention(rates: ArrayLike, retentions: ArrayLike, percent: float) -> NDArray:
    """EBPFP@percent of a batch of curves; see the head of this module for the rule.

    Args:
        rates: EBPFP, ``[curves, points]``, positive.
        retentions: ``[curves, points]``; a curve that holds NaN, here or in its rates, gets NaN.
        percent: such as 95.

    Returns:
        ``[curves]``, at most 32.
    """
    return _rates_at(rates, retentions, percent / 100)


def rates_at_divergence(rates: ArrayLike, divergences: ArrayLike, most: float) -> NDArray:
    """The rates at which a batch of curves diverges by ``most``, as `rates_at_retention`; lower is better."""
    return _rates_at(rates, np.negative(divergences), -most)


def _rates_at(rates: ArrayLike, qualities: ArrayLike, target: float) -> NDArray:
    unknown = np.isnan(np.add(rates, qualities)).any(axis=-1)
    rates, fit = by_rate(rates, qualities)
    held = fit >= target - _TOLERANCE
    reached = held.any(axis=-1)
    after = held.argmax(axis=-1)  # the first point that keeps p %; 0 where none does
    before = np.maximum(after - 1, 0)
    row = np.arange(len(rates))
    low, high = fit[row, before], fit[row, after]
    log_low, log_high = np.log2(rates[row, before]), np.log2(rates[row, after])
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(high > low, np.clip((target - low) / (high - low), 0.0, 1.0), 1.0)
    found = np.exp2(log_low + share * (log_high - log_low))
    found = np.where(after == 0, rates[row, after], found)
    found = np.where(reached, np.minimum(found, UNCODED_EBPFP), UNCODED_EBPFP)
    return np.where(unknown, np.nan, found)


@dataclass(frozen=True)
class ReachedRate:
    """The rate at which one curve reaches a target, and what kind of figure it is."""

    ebpfp: float
    bound: Bound


def rate_at_retention(rates: Sequence[float], retentions: Sequence[float], percent: float) -> ReachedRate | None:
    """EBPFP@percent of one curve; None where retention or rate is undefined.

    Example:
        >>> rate_at_retention([1, 4], [0.9, 1.0], 100)
        ReachedRate(ebpfp=4.0, bound='exact')
        >>> rate_at_retention([1, 2, 4], [0.5, 0.6, 0.7], 95)
        ReachedRate(ebpfp=32.0, bound='never')
        >>> rate_at_retention([1, 2, 4], [0.96, 0.97, 1.0], 95)
        ReachedRate(ebpfp=1.0, bound='at most')
    """
    return _reached(rates, np.asarray(retentions, dtype=np.float64), percent / 100)


def rate_at_divergence(rates: Sequence[float], divergences: Sequence[float], most: float) -> ReachedRate | None:
    """The rate at which one curve diverges by ``most``; None where divergence or rate is undefined.

    Example:
        >>> rate_at_divergence([1, 4, 2], [0.4, 0.0, 0.04], 0.02)  # half way from 2 to 4 in the logarithm
        ReachedRate(ebpfp=2.8284271247461903, bound='exact')
    """
    return _reached(rates, np.negative(np.asarray(divergences, dtype=np.float64)), -most)


def _reached(rates: Sequence[float], qualities: NDArray, target: float) -> ReachedRate | None:
    if not len(rates) or np.isnan(np.add(rates, qualities)).any():
        return None
    ebpfp = float(_rates_at([rates], [qualities], target)[0])
    ordered, fit = by_rate(rates, qualities)
    if not (fit >= target - _TOLERANCE).any():
        return ReachedRate(ebpfp, "never")
    if fit[0] >= target - _TOLERANCE and ordered[0] < UNCODED_EBPFP:
        return ReachedRate(ebpfp, "at most")
    return ReachedRate(ebpfp, "exact")


def rate_at_error(rates: ArrayLike, errors: ArrayLike, error: float) -> float:
    """The rate at which a curve reaches an error; NaN where its errors do not span it.

    Points that another point beats are left out; between two points log2 of the error is linear in the rate, as it is
    for a Gaussian source at high rate.

    Args:
        rates: ``[points]``, positive.
        errors: ``[points]``; points of no finite positive error are left out.
        error: positive.

    Example:
        >>> rate_at_error([1.0, 3.0], [0.5, 0.125], 0.25)
        2.0
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        qualities = -np.log2(np.asarray(errors, dtype=np.float64))
    front = pareto_front(np.asarray(rates, dtype=np.float64).tolist(), qualities.tolist())
    if not front or not front[0][1] <= -np.log2(error) <= front[-1][1]:
        return float("nan")
    ordered, reached = zip(*front, strict=True)
    return float(np.interp(-np.log2(error), reached, ordered))


def pareto_front(rates: Sequence[float], qualities: Sequence[float]) -> list[tuple[float, float]]:
    """The points that no other point beats, as (rate, quality) in the order of both; larger qualities are better.

    A point without a positive rate and a finite quality is left out.

    Example:
        >>> pareto_front([4.0, 1.0, 2.0], [0.9, 0.5, 0.4])
        [(1.0, 0.5), (4.0, 0.9)]
    """
    front: list[tuple[float, float]] = []
    for rate, quality in sorted(zip(rates, qualities, strict=True), key=lambda point: (point[0], -point[1])):
        if np.isfinite(quality) and rate > 0 and (not front or quality > front[-1][1]):
            front.append((rate, quality))
    return front


def geometric_mean(values: ArrayLike, axis: int = -1) -> NDArray:
    """The geometric mean of positive values along an axis.

    Example:
        >>> float(geometric_mean([2.0, 8.0]))
        4.0
    """
    return np.exp2(np.mean(np.log2(np.asarray(values, dtype=np.float64)), axis=axis))
