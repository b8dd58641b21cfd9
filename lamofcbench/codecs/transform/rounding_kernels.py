"""Loops that round coefficients and restore them. Import this module inside functions: that is when it is compiled.

Each does what numpy would in a dozen passes over memory, with the same operations on the same single-precision floats,
so that integers and values are equal bit for bit. All leave out integers that are not small. A row is gone through in
several short loops, which compilers turn into vector instructions, while it lies in the nearest cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lamofcbench.codecs.integers import EXACT, ZERO
from lamofcbench.codecs.rans.compiling import kernel
from lamofcbench.codecs.transform.classes import MAGNITUDES, ROUNDING

_ROUNDING, _EXACT = np.float32(ROUNDING), np.float32(EXACT)
_PLACED = "int16[:, ::1], int64[::1], int16[::1], int64"


@kernel(
    "int64(int32[::1], int16[::1], int64[::1], float32[:, ::1], float32[:, ::1], float32[:, ::1], "
    f"{_PLACED}, float32[::1], float32[:, ::1])"
)
def round_rows(
    symbols: Any, numbers: Any, large: Any, restored: Any, values: Any, less: Any,
    tables: Any, profiles: Any, raised: Any, last: int, steps: Any, shifts: Any,
) -> int:  # fmt: skip
    """Rounds values to tokens, and restores them where somebody wants to know.

    Args:
        symbols: filled with the tokens of what is coded, row by row; those from `EXACT` on are cut off there.
        numbers: filled with the table of each.
        large: filled with the flat places of what was cut off, behind how many these are.
        restored: filled with what tokens are restored to, zero where nothing is coded, ``[rows, K]``; or no rows.
        values: ``[rows, K]``.
        less: what is subtracted from them first, ``[rows, K]``; or no rows.
        tables: of the values, by profile, ``[P, K]``; not coded where they are negative, once raised.
        profiles: of the rows.
        raised: by how many the tables of each row are.
        last: table of all.
        steps: of the rows.
        shifts: of centroids, ``[tables, MAGNITUDES]``.

    Returns:
        How many are coded.
    """
    count, cut, width = 0, 0, values.shape[1]
    scaled, whole = np.empty(width, np.float32), np.empty(width, np.int32)
    for row in range(values.shape[0]):
        step, lift, table, of_row = steps[row], raised[row], tables[profiles[row]], values[row]
        if len(less):
            without = less[row]
            for k in range(width):
                scaled[k] = (of_row[k] - without[k]) / step
        else:
            for k in range(width):
                scaled[k] = of_row[k] / step
        lowest, greatest = np.int32(0), np.int32(0)
        for k in range(width):
            integer = np.int32(min(np.floor(np.abs(scaled[k]) + _ROUNDING), _EXACT))
            greatest = max(greatest, integer)
            lowest = min(lowest, np.int32(table[k] + lift))
            whole[k] = -integer if scaled[k] < 0 else integer
        tokens, of_each = symbols[count:], numbers[count:]
        if lowest >= 0:
            for k in range(width):
                tokens[k] = ZERO + whole[k]
                of_each[k] = min(table[k] + lift, last)
            count += width
        else:
            coded = 0
            for k in range(width):
                number = table[k] + lift
                if number >= 0:
                    tokens[coded] = ZERO + whole[k]
                    of_each[coded] = min(number, last)
                    coded += 1
            count += coded
        if greatest == EXACT:
            for k in range(width):
                if abs(whole[k]) == EXACT and table[k] + lift >= 0:
                    cut += 1
                    large[cut] = row * width + k
        if len(restored):
            found = restored[row]
            for k in range(width):
                number, integer = min(table[k] + lift, last), abs(whole[k])
                value = np.float32(integer)
                if integer:
                    value += shifts[max(number, 0), min(integer, MAGNITUDES - 1)]
                value *= step
                found[k] = 0 if number < 0 else -value if scaled[k] < 0 else value
    large[0] = cut
    return count


@kernel(f"int64(int16[::1], {_PLACED})")
def place_rows(numbers: Any, tables: Any, profiles: Any, raised: Any, last: int) -> int:
    """Fills ``numbers`` with the tables of what is coded, as `round_rows` does; how many that are."""
    count = 0
    for row in range(len(profiles)):
        lift, table = raised[row], tables[profiles[row]]
        of_each = numbers[count:]
        lowest = np.int32(0)
        for k in range(len(table)):
            lowest = min(lowest, np.int32(table[k] + lift))
        if lowest >= 0:
            for k in range(len(table)):
                of_each[k] = min(table[k] + lift, last)
            count += len(table)
        else:
            coded = 0
            for k in range(len(table)):
                number = table[k] + lift
                if number >= 0:
                    of_each[coded] = min(number, last)
                    coded += 1
            count += coded
    return count


@kernel(f"int64(float32[:, ::1], int32[::1], {_PLACED}, float32[::1], float32[:, ::1])")
def restore_rows(
    restored: Any, symbols: Any, tables: Any, profiles: Any, raised: Any, last: int, steps: Any, shifts: Any
) -> int:
    """Fills ``restored``, ``[rows, K]``, as `round_rows` does, from the tokens that it made.

    Returns:
        How many tokens are those of no small integer, which is taken for `EXACT`.
    """
    count, large = 0, 0
    for row in range(restored.shape[0]):
        step, lift, table, found = steps[row], raised[row], tables[profiles[row]], restored[row]
        tokens = symbols[count:]
        coded = 0
        for k in range(len(table)):
            number = table[k] + lift
            if number < 0:
                found[k] = 0.0
                continue
            number, integer = min(number, last), tokens[coded] - ZERO
            magnitude = min(abs(integer), EXACT)
            large += magnitude == EXACT
            value = np.float32(magnitude)
            if magnitude:
                value += shifts[number, min(magnitude, MAGNITUDES - 1)]
            value *= step
            found[k] = -value if integer < 0 else value
            coded += 1
        count += coded
    return large
