"""The search for levels. Import this module inside functions: that is when it is compiled.

Arithmetic is in double precision throughout, so that plain Python chooses the same. At one step, levels differ in the
tables alone: most values are zeros, which cost the same in each row of a profile, so that only the others are gone
through for each level.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamofcbench.codecs.rans.compiling import kernel
from lamofcbench.codecs.transform.classes import AN_OCTAVE, MAGNITUDES, ROUNDING

EXCESS = 30.0
"""What error beyond the bound counts more than other error."""


@kernel(
    "int64(int32[::1], float32[:, ::1], int16[:, ::1], int64[::1], float64[::1], float64[::1], float32[:, ::1], "
    "float32[:, ::1], int64[::1], float32[::1], int64, int64, float64, float64)"
)
def choose(
    chosen: Any, values: Any, numbers: Any, profiles: Any, energies: Any, bounds: Any, bits: Any, shifts: Any,
    offered: Any, level_bits: Any, usual: int, halvings: int, worth: float, tolerance: float,
) -> int:  # fmt: skip
    """Fills ``chosen`` with the level of each row, climbing up and down as long as it pays.

    Args:
        chosen: ``[rows]``.
        values: in steps, ``[rows, K]``.
        numbers: of tables at the usual level, by profile, ``[P, K]``.
        profiles: of the rows.
        energies: that rows are expected to have, by profile; the nearest shift is where climbing begins besides the
            usual one.
        bounds: of the distortion of each row.
        bits: of tokens, by table.
        shifts: of centroids, by table.
        offered: shifts of levels.
        level_bits: of levels.
        usual: shift.
        halvings: of the step, less than which there may be.
        worth: of a bit, in squares of the step.
        tolerance: how many times the bound distortion may reach without halving.
    """
    count, width, top, half = len(offered), len(values[0]), len(bits) - 1, len(bits[0]) // 2
    # What rows of zeros spend, by profile and level, and of one row what its levels cost and lose; -1: not known yet.
    of_zeros, prices, losses = np.full((len(numbers), halvings * count), -1.0), np.empty(count), np.empty(count)
    # Which values are zeros; of the others: place, table, token, magnitude for shifts, what rounding leaves, square.
    zero, places = np.empty(width, np.uint8), np.empty(width, np.int64)
    tables, tokens, sizes = (np.empty(width, np.int64), np.empty(width, np.int64), np.empty(width, np.int64))
    rests, squares = np.empty(width), np.empty(width)
    for row in range(len(chosen)):
        first, least, best, of_row, table = usual, 1e300, usual, values[row], numbers[profiles[row]]
        for halving in range(halvings):
            gain, bound = 2.0**halving, bounds[row] * (tolerance if halving == 0 else 1.0)
            some, lost_zeros, energy = 0, 0.0, 0.0
            for k in range(width):
                zero[k] = abs(float(of_row[k])) * gain + ROUNDING < 1.0
            for k in range(width):
                value = float(of_row[k])
                energy += value * value
                lost_zeros += value * value if zero[k] else 0.0
                places[some] = k
                some += 1 - zero[k]
            for j in range(some):
                value = float(of_row[places[j]])
                magnitude = abs(value) * gain
                integer = int(min(magnitude + ROUNDING, half + 0.5))
                tables[j] = table[places[j]]
                tokens[j] = half - integer if value < 0 else half + integer
                sizes[j] = min(integer, MAGNITUDES - 1)
                rests[j] = magnitude - integer
                squares[j] = value * value
            for place in range(count):
                prices[place] = -1.0
            if halving == 0:
                expected = AN_OCTAVE / 2 * math.log2(max(energy, 1e-300) / energies[profiles[row]])
                first = 0
                for place in range(1, count):
                    if abs(expected - offered[place]) < abs(expected - offered[first]):
                        first = place
            now, at = 1e300, usual
            for start in (usual, first):
                for direction in (1, -1):
                    place = start if direction == 1 else start - 1
                    while 0 <= place < count:
                        if prices[place] < 0:
                            level, raised = halving * count + place, offered[place] + AN_OCTAVE * halving
                            if of_zeros[profiles[row], level] < 0:
                                spent = 0.0
                                for k in range(width):
                                    if table[k] + raised >= 0:
                                        spent += float(bits[min(table[k] + raised, top)][half])
                                of_zeros[profiles[row], level] = spent
                            spent, lost, lost_coded = of_zeros[profiles[row], level], lost_zeros, 0.0
                            for k in range(some):
                                number = tables[k] + raised
                                if number < 0:
                                    lost += squares[k]
                                    continue
                                number = min(number, top)
                                spent += float(bits[number][tokens[k]]) - float(bits[number][half])
                                error = rests[k] - float(shifts[number][sizes[k]])
                                # What is too large for a look-up counts as coded without loss.
                                lost_coded += error * error if 0 < tokens[k] < 2 * half else 0.0
                            lost += lost_coded / (gain * gain)
                            losses[place] = lost
                            prices[place] = lost + worth * (spent + float(level_bits[level]))
                            prices[place] += EXCESS * max(lost - bound, 0.0)
                        price = prices[place]
                        if price >= now and place != start:
                            break
                        if price < now:
                            now, at = price, place
                        place += direction
                if first == usual:
                    break
            if now < least:
                least, best = now, halving * count + at
            first = at
            # Within its bound, a row pays nothing for excess: halving cannot help.
            if bound > 1e200 or bound >= losses[at]:
                break
        chosen[row] = best
    return len(chosen)
