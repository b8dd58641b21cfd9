"""The search for levels. Import this module inside functions: that is when it is compiled.

Arithmetic is in double precision throughout, so that plain Python chooses the same.
"""

from __future__ import annotations

from typing import Any

from lamofcbench.codecs.rans.compiling import kernel
from lamofcbench.codecs.transform.classes import AN_OCTAVE, MAGNITUDES, ROUNDING

EXCESS = 30.0
"""What error beyond the bound counts more than other error."""


@kernel(
    "float64(float32[::1], int16[::1], int64, float64, float64, float64, float32[:, ::1], float32[:, ::1], float64)"
)
def cost(
    values: Any, numbers: Any, raised: int, gain: float, bound: float, most: float, bits: Any, shifts: Any, worth: float
) -> float:
    """Distortion in squares of the step, and bits, of a row at a level; more than ``most`` where it is no better.

    Args:
        values: in steps.
        numbers: of tables at the usual level.
        raised: by how many the numbers are.
        gain: by what values are multiplied before they are rounded.
        bound: of the distortion.
        most: cost of the best level so far.
        bits: of tokens, by table.
        shifts: of centroids, by table.
        worth: of a bit, in squares of the step.
    """
    lost, spent, top, half = 0.0, 0.0, len(bits) - 1, len(bits[0]) // 2
    for k in range(len(values)):
        value = float(values[k])
        number = numbers[k] + raised
        if number < 0:
            lost += value * value
            continue
        number = min(number, top)
        magnitude = abs(value) * gain
        integer = int(min(magnitude + ROUNDING, half + 0.5))
        spent += float(bits[number][half - integer if value < 0 else half + integer])
        if integer:
            magnitude -= integer + float(shifts[number][min(integer, MAGNITUDES - 1)])
        if integer < half:
            lost += magnitude * magnitude / (gain * gain)
        if (k & 63) == 0 and lost + worth * spent > most:
            break
    return lost + worth * spent + EXCESS * max(lost - bound, 0.0)


@kernel(
    "int64(int32[::1], float32[:, ::1], int16[:, ::1], float64[::1], float32[:, ::1], float32[:, ::1], int64[::1], "
    "float32[::1], int64, int64, float64, float64)"
)
def choose(
    chosen: Any,
    values: Any,
    numbers: Any,
    bounds: Any,
    bits: Any,
    shifts: Any,
    offered: Any,
    level_bits: Any,
    usual: int,
    halvings: int,
    worth: float,
    tolerance: float,
) -> int:
    """Fills ``chosen`` with the level of each row, climbing up and down as long as it pays.

    Args:
        chosen: ``[rows]``; holds the shift to begin at besides the usual one.
        values: in steps, ``[rows, K]``.
        numbers: of tables at the usual level, ``[rows, K]``.
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
    count = len(offered)
    for row in range(len(chosen)):
        first, least, best = chosen[row], 1e300, usual
        for halving in range(halvings):
            gain, bound = 2.0**halving, bounds[row] * (tolerance if halving == 0 else 1.0)
            extra = AN_OCTAVE * halving
            now, at = 1e300, usual
            for start in (usual, first):
                for direction in (1, -1):
                    place = start if direction == 1 else start - 1
                    while 0 <= place < count:
                        price = worth * float(level_bits[halving * count + place])
                        price += cost(
                            *(values[row], numbers[row], offered[place] + extra, gain, bound, now - price),
                            *(bits, shifts, worth),
                        )
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
            if bound > 1e200 or bound >= cost(
                values[row], numbers[row], offered[at] + extra, gain, 1e300, 1e300, bits, shifts, 0.0
            ):
                break
        chosen[row] = best
    return len(chosen)
