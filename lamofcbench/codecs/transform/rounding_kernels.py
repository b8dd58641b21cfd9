"""Loops that round coefficients and restore them. Import this module inside functions: that is when it is compiled.

Each does what numpy would in a dozen passes over memory, with the same operations on the same single-precision floats,
so that integers and values are equal bit for bit. Both leave out integers that are not small. A function of what an
integer is restored to, which both would call, was tried: it made encoding a quarter and decoding a half slower.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lamofcbench.codecs.integers import EXACT, ZERO
from lamofcbench.codecs.rans.compiling import kernel
from lamofcbench.codecs.transform.classes import MAGNITUDES, ROUNDING

_ROUNDING, _EXACT = np.float32(ROUNDING), np.float32(EXACT)


@kernel(
    "int64(int32[::1], int16[::1], int64[::1], float32[:, ::1], "
    "float32[:, ::1], int16[:, ::1], float32[::1], float32[:, ::1])"
)
def round_rows(
    symbols: Any, tables: Any, large: Any, restored: Any, values: Any, numbers: Any, steps: Any, shifts: Any
) -> int:
    """Rounds values to tokens and restores them.

    Args:
        symbols: filled with the tokens of what is coded, row by row; those from `EXACT` on are cut off there.
        tables: filled with the table of each.
        large: filled with the flat places of what was cut off, behind how many these are.
        restored: filled with what tokens are restored to, zero where nothing is coded, ``[rows, K]``.
        values: ``[rows, K]``.
        numbers: the table of each, negative where it is not coded, ``[rows, K]``.
        steps: of the rows.
        shifts: of centroids, ``[tables, MAGNITUDES]``.

    Returns:
        How many are coded.
    """
    count, cut = 0, 0
    for row in range(values.shape[0]):
        step = steps[row]
        for k in range(values.shape[1]):
            number = numbers[row, k]
            if number < 0:
                restored[row, k] = 0.0
                continue
            scaled = values[row, k] / step
            magnitude = min(np.floor(np.abs(scaled) + _ROUNDING), _EXACT)
            integer = int(magnitude)
            if integer == EXACT:
                cut += 1
                large[cut] = row * values.shape[1] + k
            value = magnitude
            if integer:
                value += shifts[number, min(integer, MAGNITUDES - 1)]
            if scaled < 0:
                value, integer = -value, -integer
            restored[row, k] = value * step
            symbols[count] = ZERO + integer
            tables[count] = number
            count += 1
    large[0] = cut
    return count


@kernel("int64(float32[:, ::1], int32[::1], int16[:, ::1], float32[::1], float32[:, ::1])")
def restore_rows(restored: Any, symbols: Any, numbers: Any, steps: Any, shifts: Any) -> int:
    """Fills ``restored``, ``[rows, K]``, as `round_rows` does, from the tokens that it made.

    Returns:
        How many tokens are those of no small integer, which is taken for `EXACT`.
    """
    count, large = 0, 0
    for row in range(numbers.shape[0]):
        step = steps[row]
        for k in range(numbers.shape[1]):
            number = numbers[row, k]
            if number < 0:
                restored[row, k] = 0.0
                continue
            integer = symbols[count] - ZERO
            magnitude = abs(integer)
            if magnitude >= EXACT:
                large += 1
                magnitude = EXACT
            value = np.float32(magnitude)
            if magnitude:
                value += shifts[number, min(magnitude, MAGNITUDES - 1)]
            if integer < 0:
                value = -value
            restored[row, k] = value * step
            count += 1
    return large
