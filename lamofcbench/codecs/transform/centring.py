"""Centring: rows about what is expected of them, and back, in one pass over memory where kernels are compiled."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.rans.compiling import compiled
from lamofcbench.codecs.transform.outliers import MOST, Outliers

_LARGEST = np.finfo(np.float32).max

Matrix = NDArray[np.float32]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Expected:
    """What is expected of rows.

    Attributes:
        means: ``[M, C]``.
        of: which of these each row has, ``[rows]``.
    """

    means: Matrix
    of: Index

    @property
    def rows(self) -> Matrix:
        """``[rows, C]``, or ``[1, C]`` where it is the same for all."""
        return self.means if len(self.means) == 1 else self.means[self.of]


def centred(rows: Matrix, expected: Expected, limits: Matrix, scale: Matrix) -> tuple[Matrix, Outliers]:
    """Rows ``[rows, C]`` about what is expected of them, over the scale, zero in place of the outliers.

    Args:
        rows: as they are.
        expected: of them.
        limits: of columns ``[C]``; what deviates farther is an outlier.
        scale: of columns.
    """
    if compiled():
        found, far = np.empty(rows.shape, np.float32), np.empty(len(rows), np.int64)
        arrays = np.ascontiguousarray(rows), np.ascontiguousarray(expected.means), expected.of.astype(np.int64)
        count = _kernels().centre(found, far, *arrays, limits, scale)
        if not count:
            return found, Outliers.none()
        if count <= MOST:
            beyond = _beyond(rows, expected, limits, np.flatnonzero(far))
            beyond.blank(found)
            return found, beyond
    with np.errstate(over="ignore"):  # what overflows is an outlier
        deviations = rows - expected.rows
    beyond = Outliers.find(rows, np.abs(deviations) > limits)
    beyond.blank(deviations)
    deviations /= scale
    return deviations, beyond


def restored(values: Matrix, expected: Expected, scale: Matrix) -> Matrix:
    """The rows whose centred ones these are; writes over them."""
    if compiled() and values.flags.c_contiguous and values.flags.writeable:
        arrays = np.ascontiguousarray(expected.means), expected.of.astype(np.int64)
        _kernels().restore(values, *arrays, scale, _LARGEST)
        return values
    with np.errstate(over="ignore"):
        values *= scale
        values += expected.rows
    return np.clip(values, -_LARGEST, _LARGEST, out=values)


def _beyond(rows: Matrix, expected: Expected, limits: Matrix, at: Index) -> Outliers:
    """The outliers of rows that have some."""
    with np.errstate(over="ignore"):
        deviations = rows[at] - expected.means[expected.of[at]]
    found = Outliers.find(rows[at], np.abs(deviations) > limits)
    return Outliers(at[found.rows].astype(np.int32), found.columns, found.values)


@functools.cache
def _kernels() -> ModuleType:
    from lamofcbench.codecs.transform import centring_kernels  # compiled at its import

    return centring_kernels
