"""Loops that set rows about what is expected of them. Import this module inside functions: that is when it is compiled.

Operations are those of numpy on the same single-precision floats, in one pass over memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lamofcbench.codecs.rans.compiling import kernel


@kernel("int64(float32[:, ::1], int64[::1], float32[:, ::1], float32[:, ::1], int64[::1], float32[::1], float32[::1])")
def centre(centred: Any, far: Any, rows: Any, means: Any, of: Any, limits: Any, scale: Any) -> int:
    """Fills ``centred`` with rows less their means, over the scale.

    Args:
        centred: ``[rows, C]``.
        far: filled with how many values of each row are farther off than their limits.
        rows: ``[rows, C]``.
        means: ``[M, C]``.
        of: which mean each row has.
        limits: of columns.
        scale: of columns.

    Returns:
        How many values are farther off.
    """
    total, width = 0, rows.shape[1]
    for row in range(rows.shape[0]):
        values, mean, found, beyond = rows[row], means[of[row]], centred[row], np.int32(0)
        for k in range(width):
            deviation = values[k] - mean[k]
            beyond += np.int32(np.abs(deviation) > limits[k])
            found[k] = deviation / scale[k]
        far[row] = beyond
        total += beyond
    return total


@kernel("int64(float32[:, ::1], float32[:, ::1], int64[::1], float32[::1], float32)")
def restore(centred: Any, means: Any, of: Any, scale: Any, largest: float) -> int:
    """Puts scale and means back, in place, cut off at the largest float either way; returns the number of rows."""
    width = centred.shape[1]
    for row in range(centred.shape[0]):
        found, mean = centred[row], means[of[row]]
        for k in range(width):
            value = found[k] * scale[k] + mean[k]
            value = largest if value > largest else value
            found[k] = -largest if value < -largest else value
    return centred.shape[0]
