"""Lloyd-Max levels for the coordinates of a randomly rotated vector: the least squared error at so many levels.

On the unit sphere in d dimensions a coordinate x has the density ``(1 - x**2)**((d - 3) / 2)``, up to a factor; times
the root of d, it is close to a Gaussian of variance one from some dozens of dimensions on (arXiv 2504.19874, lemma 1).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

_REACH = 10.0
"""Of the density that is looked at, in root mean squares."""
_CELLS = 2**14
_ROUNDS = 1000
_PRECISION = 2.0**12
"""Levels are multiples of one part in this, so that all machines find the same."""


@functools.lru_cache(maxsize=256)
def lloyd_max_levels(length: int, bits: int) -> NDArray[np.float32]:
    """The levels of a coordinate, ascending, in root mean squares of the vector's; float32 ``[2**bits]``.

    Args:
        length: of the vector, at least 1.
        bits: of a code.

    Example:
        >>> lloyd_max_levels(4096, 2).round(3).tolist() == np.float32([-1.51, -0.453, 0.453, 1.51]).tolist()
        True
    """
    if length == 1:  # the coordinate is the vector: plus or minus its root mean square
        return np.linspace(-1, 1, 2**bits, dtype=np.float32)
    edges, mass, moment = _cumulated(length)
    levels = _companded(edges, 2**bits)
    for _ in range(_ROUNDS):
        bounds = np.concatenate([edges[:1], (levels[1:] + levels[:-1]) / 2, edges[-1:]])
        masses, moments = (np.diff(np.interp(bounds, edges, sums)) for sums in (mass, moment))
        moved = np.divide(moments, masses, out=levels.copy(), where=masses > 0)
        done = np.abs(moved - levels).max() < 0.01 / _PRECISION
        levels = moved
        if done:
            break
    levels = (levels - levels[::-1]) / 2
    return (np.rint(levels * _PRECISION) / _PRECISION).astype(np.float32)


def _density(length: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return (1 - np.square(values) / length) ** ((length - 3) / 2)


def _cumulated(length: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Edges of cells, and the integrals of the density, and of it times the coordinate, up to each of them."""
    edges = np.linspace(-1, 1, _CELLS + 1) * min(np.sqrt(length), _REACH)
    middles = (edges[1:] + edges[:-1]) / 2
    density = _density(length, middles)
    return edges, *(np.concatenate([[0.0], np.cumsum(part)]) for part in (density, density * middles))


def _companded(edges: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Where to start: levels as dense as the cube root of a Gaussian, which for many levels is close to the best."""
    middles = (edges[1:] + edges[:-1]) / 2
    shares = np.cumsum(np.exp(-np.square(middles) / 6))
    return np.interp((np.arange(count) + 0.5) / count, shares / shares[-1], middles)
