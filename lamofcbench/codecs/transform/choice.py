"""Chooses between ways to transform a group, by what they cost on samples that they were not fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.transform.classes import BITS_WORTH, LOWEST, UNCODED, TableCounts, classes_of, quantised
from lamofcbench.codecs.transform.estimate import Estimate

SAMPLES = 24
"""So many calibration samples are enough to choose."""


MODERATE = 1.0
"""A step at which every candidate codes something, in deviations of a tensor from what is expected of its rows."""


def cheapest(candidates: Sequence[Estimate], step: float) -> Estimate:
    """The candidate of the lowest rate and distortion together at a step of the quantiser.

    At a coarse step, one that codes next to nothing costs little, and leaves nothing to answer from. So a later
    candidate takes the place of an earlier one only where it is cheaper at a moderate step, too.
    """
    cheapest_ones = {_cheapest(candidates, each) for each in (step, min(step, MODERATE))}
    return candidates[min(cheapest_ones)]


def least_cost(candidates: Sequence[Estimate], step: float) -> float:
    """What the cheapest candidate costs at a step of the quantiser: distortion in squares of it, and bits, of a row."""
    return min(_cost(candidate, step) for candidate in candidates)


def _cheapest(candidates: Sequence[Estimate], step: float) -> int:
    costs = [_cost(candidate, step) for candidate in candidates]
    return costs.index(min(costs))


def _cost(candidate: Estimate, step: float) -> float:
    """Distortion in squares of the step, and bits, of a row."""
    leftovers = candidate.leftovers
    classes, of_others = (classes_of(each, step) for each in (candidate.deviations, candidate.others_deviations))
    residual_classes = classes_of(leftovers.others_deviations, step)
    counts = TableCounts(np.unique(np.concatenate([a.reshape(-1) for a in (classes, of_others, residual_classes)])))
    numbers, residual_numbers = counts.numbers(of_others), counts.numbers(residual_classes)
    every = max(len(candidate.coefficients) // SAMPLES, 1)
    distortion, rows = 0.0, 0
    for index in range(0, len(candidate.coefficients), every):
        values = candidate.coefficients[index]
        scaled, where = values / np.float32(step), numbers[candidate.folds[index], candidate.profiles[index]]
        counts.add(scaled, where)
        distortion += _distortion(scaled, where)
        rows += len(values)
    cost = (distortion + BITS_WORTH * counts.bits()) / max(rows, 1)
    if len(leftovers.rows) and (residual_classes >= LOWEST).any():
        residual_counts = TableCounts(counts.used)
        scaled, where = leftovers.rows / np.float32(step), residual_numbers[leftovers.folds]
        residual_counts.add(scaled, where)
        cost += (_distortion(scaled, where) + BITS_WORTH * residual_counts.bits()) / len(scaled)
    else:
        cost += float(np.square(leftovers.deviations / step).sum())
    return cost


def _distortion(scaled: NDArray[np.float32], numbers: NDArray[np.int16]) -> float:
    lost = np.where(numbers == UNCODED, scaled, scaled - quantised(scaled))
    return float(np.square(lost, dtype=np.float64).sum())
