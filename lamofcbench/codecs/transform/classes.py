"""Classes: coefficients of about the same deviation in steps share a table, whichever tensor they come from.

Values are rounded to whole steps with a dead zone that is a little wider than a step, and restored to the centroid of
what was rounded to the same integer; at about a bit a value that is worth 8 % of the rate. See Sullivan, "Efficient
scalar quantization of exponential and Laplacian random variables", 1996.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import PRECISION_BITS

AN_OCTAVE = 4
LOWEST = -10
"""Of values that deviate ``2**(LOWEST / AN_OCTAVE)`` steps; here, those that deviate less are never coded."""
HIGHEST = 20 * AN_OCTAVE
UNCODED = -1
"""The table number of values that are taken for zero."""
PRIOR_STRENGTH = 4.0
"""How many observations the prior of a table is worth."""
ROUNDING = 0.45
"""What is added to a magnitude in steps before its fraction is dropped; 0.5 would be no dead zone."""
MAGNITUDES = 4
"""Centroids are kept of the magnitudes 0, 1, 2, and 3 and all above."""
CENTROID_STRENGTH = 8.0
"""How many observations at the middle of the interval a centroid is drawn by."""
BITS_WORTH = float(np.log(2) / 6)
"""What a bit is worth in squares of the step, where rate and distortion of a uniform quantiser trade one for one."""


def classes_of(deviations: NDArray[np.float64], step: float, below: int = 1) -> NDArray[np.int64]:
    """The class of each deviation, at the least so many below `LOWEST`."""
    with np.errstate(divide="ignore"):
        octaves = np.log2(deviations / step)
    return np.rint(np.clip(octaves * AN_OCTAVE, LOWEST - below, HIGHEST)).astype(np.int64)


def quantised(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """The integers of values in steps."""
    magnitudes = np.abs(scaled)
    magnitudes += np.float32(ROUNDING)
    return np.copysign(np.floor(magnitudes, out=magnitudes), scaled, out=magnitudes)


def restored(
    integers: NDArray[np.float32], numbers: NDArray[np.int16], shifts: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The values in steps that integers stand for.

    Args:
        integers: in steps.
        numbers: the table of each, in the same shape.
        shifts: how far the centroid of each magnitude lies outside the integer, float32 ``[tables, MAGNITUDES]``.
    """
    magnitudes = np.minimum(np.abs(integers), MAGNITUDES - 1).astype(np.intp)
    outwards = np.sign(integers) * shifts[numbers, magnitudes]
    return np.add(integers, outwards, dtype=np.float32)


class TableCounts:
    """Counts the tokens of quantised values by class, and makes tables of them.

    Args:
        used: the classes that occur, ascending.
    """

    def __init__(self, used: NDArray[np.int64]) -> None:
        self.used = used[used >= LOWEST]
        self._counts = np.zeros((len(self.used), integers.ALPHABET), np.int64)
        self._shifts, self._shifted = (np.zeros((len(self.used), MAGNITUDES)) for _ in range(2))

    def numbers(self, classes: NDArray[np.int64]) -> NDArray[np.int16]:
        """The table numbers of classes; `UNCODED` below the lowest."""
        return np.where(classes >= LOWEST, np.searchsorted(self.used, classes), UNCODED).astype(np.int16)

    def add(self, scaled: NDArray[np.float32], numbers: NDArray[np.int16]) -> None:
        """Counts values, in steps, each under its table number."""
        coded = numbers != UNCODED
        values, tables = scaled[coded], numbers[coded].astype(np.int64)
        whole = quantised(values)
        tokens = integers.tokenise(whole.astype(np.float64), values).symbols
        self._counts += np.bincount(tables * integers.ALPHABET + tokens, minlength=self._counts.size).reshape(
            self._counts.shape
        )
        flat = tables * MAGNITUDES + np.minimum(np.abs(whole), MAGNITUDES - 1).astype(np.int64)
        shift = np.where(np.abs(whole) < integers.EXACT, np.abs(values) - np.abs(whole), 0.5 - ROUNDING)
        self._shifts += np.bincount(flat, shift, self._shifts.size).reshape(self._shifts.shape)
        self._shifted += np.bincount(flat, minlength=self._shifts.size).reshape(self._shifts.shape)

    def shifts(self) -> NDArray[np.float32]:
        """How far centroids lie outside their integers, ``[tables, MAGNITUDES]``; 0 for the integer 0."""
        middle = 0.5 - ROUNDING
        shifts = (self._shifts + CENTROID_STRENGTH * middle) / (self._shifted + CENTROID_STRENGTH)
        shifts[:, 0] = 0.0
        return shifts.astype(np.float32)

    def bits(self) -> float:
        """What the values that were counted cost by these tables."""
        frequencies = self.frequencies().astype(np.float64)
        return float((self._counts * (PRECISION_BITS - np.log2(np.maximum(frequencies, 1)))).sum())

    def frequencies(self) -> NDArray[np.int32]:
        """The tables, ``[tables, tokens]``."""
        tables = [
            integers.learned_frequencies(row, 2.0 ** (octave / AN_OCTAVE), PRIOR_STRENGTH)
            for row, octave in zip(self._counts, self.used, strict=True)
        ]
        return np.array(tables, np.int32).reshape(-1, integers.ALPHABET)
