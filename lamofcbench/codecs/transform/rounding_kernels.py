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


@kernel(f"int64(int32[::1], int16[::1], int64[::1], float32[:, ::1], float32[:, ::1], {_PLACED}, float32[::1])")
def round_rows(
    symbols: Any, numbers: Any, large: Any, values: Any, less: Any,
    tables: Any, profiles: Any, raised: Any, last: int, steps: Any,
) -> int:  # fmt: skip
    """Rounds values to tokens.

    Args:
        symbols: filled with the tokens of what is coded, row by row; those from `EXACT` on are cut off there.
        numbers: filled with the table of each.
        large: filled with the flat places of what was cut off, behind how many these are.
        values: ``[rows, K]``.
        less: what is subtracted from them first, ``[rows, K]``; or no rows.
        tables: of the values, by profile, ``[P, K]``; not coded where they are negative, once raised.
        profiles: of the rows.
        raised: by how many the tables of each row are.
        last: table of all.
        steps: of the rows.

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
            magnitude = np.floor(np.abs(scaled[k]) + _ROUNDING)
            integer = np.int32(magnitude if magnitude < _EXACT else _EXACT)  # NaN is cut off, too
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
    """Restores values from the tokens that `round_rows` made.

    Args:
        restored: filled, zero where nothing is coded, ``[rows, K]``.
        symbols: the tokens of what is coded, row by row.
        tables: as in `round_rows`.
        profiles: as in `round_rows`.
        raised: as in `round_rows`.
        last: as in `round_rows`.
        steps: as in `round_rows`.
        shifts: of centroids, ``[tables, MAGNITUDES]``.

    Returns:
        How many tokens are those of no small integer, which is taken for `EXACT`.
    """
    count, large, width = 0, 0, restored.shape[1]
    by_centroid, centroids, whole = shifts.reshape(-1), np.empty(width, np.uint32), np.empty(width, np.int32)
    for row in range(restored.shape[0]):
        step, lift, table, found = steps[row], raised[row], tables[profiles[row]], restored[row]
        tokens = symbols[count:]
        lowest = np.int32(0)
        for k in range(width):
            lowest = min(lowest, np.int32(table[k] + lift))
        if lowest >= 0:
            for k in range(width):
                whole[k] = max(-EXACT, min(tokens[k] - ZERO, EXACT))
            count += width
        else:
            coded = 0
            for k in range(width):
                number = table[k] + lift
                whole[k] = max(-EXACT, min(tokens[coded] - ZERO, EXACT)) if number >= 0 else 0
                coded += number >= 0
            count += coded
        for k in range(width):
            number, magnitude = min(max(table[k] + lift, 0), last), abs(whole[k])
            large += magnitude == EXACT
            centroids[k] = number * MAGNITUDES + min(magnitude, MAGNITUDES - 1)
        for k in range(width):
            # Whether it is zero is asked without a branch, for none could foresee it.
            shift, sign = by_centroid[centroids[k]], max(-1, min(1, whole[k]))
            found[k] = (np.float32(whole[k]) + shift * np.float32(sign)) * step
    return large
