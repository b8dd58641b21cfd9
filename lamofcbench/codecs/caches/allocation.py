"""Which components of a token get how many bits: dynamic programming on errors measured in calibration (KVTC, 3.2).

Neighbouring components form a group, the values of which share a type: 2-bit or 4-bit integers between the least and
the largest value of the group in that token, which cost a step and a low end of 16 bits each; eight-bit floats, which
cost nothing else; or nothing at all, which the components behind the last group get.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.caches import floats
from lamofcbench.codecs.groups.scales import dequantise, quantise

Matrix = NDArray[np.float32]

GROUP_SIZES = (1, 16, 64, 256, 1024)
GRID = 16
"""Groups of several components start and end at multiples of this, or among the first components."""
INTEGER_BITS = (2, 4)
FLOAT_BITS = 8
SCALE_BITS = 32
_UNIT_BITS = 2
"""Of the budget; all costs are multiples of it."""
MEASURED_ROWS = 2048


@dataclass(frozen=True)
class Part:
    """A group of components.

    Attributes:
        stop: the component behind its last; it starts where the group before it stops.
        bits: of a component: 2 and 4 for integers, 8 for floats.
        exponent: floats are coded in units of two to this power; 0 for integers.
    """

    stop: int
    bits: int
    exponent: int = 0


def allocate(coefficients: Matrix, budget_bits: float) -> list[Part]:
    """The groups that code coefficients with the least squared error.

    Args:
        coefficients: by falling variance, ``[rows, K]``.
        budget_bits: of a row.
    """
    values = coefficients[:: max(len(coefficients) // MEASURED_ROWS, 1)]
    count = values.shape[1]
    grid = sorted({*range(min(GRID, count)), *range(0, count, GRID), count})
    index = {place: number for number, place in enumerate(grid)}
    budget = int(min(budget_bits, (FLOAT_BITS + SCALE_BITS) * count)) // _UNIT_BITS
    errors = np.full((len(grid), budget + 1), np.inf)
    errors[0] = 0.0
    choices: list[tuple[int, Part, int]] = []  # where each candidate starts, what it is, what it costs
    taken = np.full((len(grid), budget + 1), -1, np.int32)
    for start in grid[:-1]:
        for stop in _stops(start, grid):
            for part, cost, error in _candidates(values, start, stop):
                if cost > budget:
                    continue
                better = errors[index[start], : budget + 1 - cost] + error
                at = np.flatnonzero(better < errors[index[stop], cost:])
                errors[index[stop], cost + at] = better[at]
                taken[index[stop], cost + at] = len(choices)
                choices.append((start, part, cost))
    energies = np.square(values, dtype=np.float64).sum(0)
    left = np.array([energies[place:].sum() for place in grid])
    place, spent = int(np.argmin(errors[:, budget] + left)), budget
    parts: list[Part] = []
    while place:
        start, part, cost = choices[int(taken[place, spent])]
        parts.insert(0, part)
        place, spent = index[start], spent - cost
    return parts


def _stops(start: int, grid: list[int]) -> list[int]:
    """Where groups of each size that start here stop: at the last place of the grid that they reach."""
    stops = set()
    for size in GROUP_SIZES:
        if size > GRID and start % (size // 4):
            continue  # else the widest rows would take minutes
        stops.add(max((place for place in grid if start < place <= start + size), default=start))
    return sorted(stops - {start})


def _candidates(values: Matrix, start: int, stop: int) -> Iterator[tuple[Part, int, float]]:
    """Each type of a group with its cost, in units of the budget, and the squared error that it leaves."""
    part = np.ascontiguousarray(values[:, start:stop])
    starts = np.zeros(1, np.intp)
    for bits in INTEGER_BITS:
        error = dequantise(quantise(part, starts, bits), starts, bits) - part
        cost = ((stop - start) * bits + SCALE_BITS) // _UNIT_BITS
        yield Part(stop, bits), cost, float(np.square(error, dtype=np.float64).sum())
    exponent = floats.exponent_for(float(np.abs(part).max(initial=0.0)))
    error = floats.from_codes(floats.to_codes(part, exponent), exponent) - part
    cost = (stop - start) * FLOAT_BITS // _UNIT_BITS
    yield Part(stop, FLOAT_BITS, exponent), cost, float(np.square(error, dtype=np.float64).sum())
