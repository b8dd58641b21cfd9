"""Uniform quantisation in small groups of neighbours, each with a step and a low end of its own in half precision.

A group's levels are ``low + code * step``. Low ends are rounded down and steps up to what half precision holds, so that
the levels cover the group whatever the rounding, and every value that is not clipped errs by at most half its step.
Half precision ends at 65504: values beyond it are clipped to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamofcbench.errors import BitstreamError

LARGEST = float(np.finfo(np.float16).max)
_SMALLEST = np.float32(np.finfo(np.float16).smallest_subnormal)


@dataclass(frozen=True)
class GroupedCodes:
    """Quantised vectors.

    Attributes:
        codes: uint8 ``[vectors, length]``, below ``2**bits``.
        steps: float16 ``[vectors, groups]``, not negative.
        lows: float16 ``[vectors, groups]``; empty where groups are symmetric, whose low end follows from the step.
    """

    codes: NDArray[np.uint8]
    steps: NDArray[np.float16]
    lows: NDArray[np.float16]

    @property
    def scales(self) -> tuple[NDArray[np.float16], ...]:
        """Everything beside the codes, in the order in which it is stored."""
        return (self.steps, self.lows) if self.lows.size else (self.steps,)

    def check_scales(self) -> None:
        """Raises `BitstreamError` where scales are what no encoder writes: not finite, or a negative step."""
        for scales in self.scales:
            if not np.isfinite(scales).all():
                raise BitstreamError("a group's scale is not finite")
        if self.steps.size and self.steps.min() < 0:
            raise BitstreamError("a group's step is negative")


def group_count(length: int, group: int) -> int:
    """How many groups a vector has."""
    return max(1, round(length / group)) if length else 0


def group_starts(length: int, group: int) -> NDArray[np.intp]:
    """Where the groups of a vector start: about ``length / group`` groups, of nearly equal size.

    A remainder is spread over the groups, because a short group of its own would pay the most for its scales.

    Example:
        >>> group_starts(64, 32).tolist(), group_starts(33, 32).tolist(), group_starts(50, 32).tolist()
        ([0, 32], [0], [0, 25])
    """
    count = group_count(length, group)
    return np.arange(count) * length // max(count, 1)


def bounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy of the values, those beyond the range of half precision clipped to it."""
    return np.clip(values, -LARGEST, LARGEST)


def quantise(
    values: NDArray[np.float32], starts: NDArray[np.intp], bits: int, *, symmetric: bool = False, clip: float = 1.0
) -> GroupedCodes:
    """Rounds each value to the nearest of its group's ``2**bits`` levels.

    Args:
        values: float32 ``[vectors, length]``, finite.
        starts: of the groups, from `group_starts`.
        bits: 2 to 8.
        symmetric: levels are multiples of the step, one level fewer, and there is no low end to be stored.
        clip: which part of a group's range the levels cover; what lies outside is clipped.
    """
    values = bounded(values)
    if not values.size:
        none = np.empty((len(values), len(starts)), np.float16)
        return GroupedCodes(values.astype(np.uint8), none, none)
    highest, lowest = np.maximum.reduceat(values, starts, axis=1), np.minimum.reduceat(values, starts, axis=1)
    if symmetric:
        steps = _rounded_up(np.maximum(highest, -lowest) * (np.float32(clip) / (2 ** (bits - 1) - 1)))
        lows = np.empty((len(values), 0), np.float16)
    else:
        margin = (highest - lowest) * np.float32((1 - clip) / 2)
        lows = -_rounded_up(-(lowest + margin))
        steps = _rounded_up((highest - margin - lows.astype(np.float32)) / np.float32(2**bits - 1))
    step, low = _levels(GroupedCodes(np.empty(0, np.uint8), steps, lows), starts, values.shape[1], bits)
    values -= low
    # Where the step is zero all values equal the low end, so that the difference is zero whatever it is divided by.
    values /= np.maximum(step, _SMALLEST, out=step)
    np.rint(values, out=values)
    codes = np.clip(values, 0, _highest_code(bits, symmetric), out=values).astype(np.uint8)
    return GroupedCodes(codes, steps, lows)


def dequantise(quantised: GroupedCodes, starts: NDArray[np.intp], bits: int) -> NDArray[np.float32]:
    """The values of the levels, float32 ``[vectors, length]``.

    Raises:
        BitstreamError: if scales are what no encoder writes: not finite, or a negative step.
    """
    quantised.check_scales()
    length = quantised.codes.shape[1]
    if not quantised.codes.size:
        return quantised.codes.astype(np.float32)
    step, low = _levels(quantised, starts, length, bits)
    values = quantised.codes.astype(np.float32)
    values *= step
    values += low
    return np.clip(values, -LARGEST, LARGEST, out=values)


def _highest_code(bits: int, symmetric: bool) -> int:
    return 2**bits - (2 if symmetric else 1)


def _levels(
    scales: GroupedCodes, starts: NDArray[np.intp], length: int, bits: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Step and low end of each element, float32 ``[vectors, length]``."""
    sizes = np.diff(starts, append=length)
    step = np.repeat(scales.steps.astype(np.float32), sizes, axis=1)
    if not scales.lows.size:
        return step, step * np.float32(1 - 2 ** (bits - 1))
    return step, np.repeat(scales.lows.astype(np.float32), sizes, axis=1)


def _rounded_up(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """The smallest half-precision number not below each value, at most the largest finite one."""
    halves = np.clip(values, -LARGEST, LARGEST).astype(np.float16)
    below = halves.astype(np.float32) < values
    halves[below] = np.nextafter(halves[below], np.float16(LARGEST))
    return halves
