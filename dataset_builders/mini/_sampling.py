"""Values between pixels, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def between(values: NDArray[np.float64], row: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns values at fractional indices, bilinear; indices beyond the border count as on it.

    Each element comes from sums and products of its own, in a fixed order, so the machine does not change its bytes.

    Args:
        values: float64 [H, W], H and W at least 2.
        row: float64 of any shape.
        column: float64 of the same shape.
    """
    height, width = values.shape
    row, column = row.clip(0, height - 1), column.clip(0, width - 1)
    top, left = np.minimum(row, height - 2).astype(np.int64), np.minimum(column, width - 2).astype(np.int64)
    lower, right = row - top, column - left
    upper_values = values[top, left] * (1 - right) + values[top, left + 1] * right
    lower_values = values[top + 1, left] * (1 - right) + values[top + 1, left + 1] * right
    between: NDArray[np.float64] = upper_values * (1 - lower) + lower_values * lower
    return between
