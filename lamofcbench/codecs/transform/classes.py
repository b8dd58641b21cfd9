"""Classes: coefficients of about the same deviation in steps share a table, whichever tensor they come from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import PRECISION_BITS

AN_OCTAVE = 4
LOWEST = -10
"""Values that deviate less than ``2**(LOWEST / AN_OCTAVE)`` steps are never coded."""
HIGHEST = 20 * AN_OCTAVE
UNCODED = -1
"""The table number of values that are taken for zero."""
PRIOR_STRENGTH = 4.0
"""How many observations the prior of a table is worth."""


def classes_of(deviations: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    """The class of each deviation; below `LOWEST` where it is not coded."""
    with np.errstate(divide="ignore"):
        octaves = np.log2(deviations / step)
    return np.rint(np.clip(octaves * AN_OCTAVE, LOWEST - 1, HIGHEST)).astype(np.int64)


class TableCounts:
    """Counts the tokens of quantised values by class, and makes tables of them.

    Args:
        used: the classes that occur, ascending.
    """

    def __init__(self, used: NDArray[np.int64]) -> None:
        self.used = used[used >= LOWEST]
        self._counts = np.zeros((len(self.used), integers.ALPHABET), np.int64)

    def numbers(self, classes: NDArray[np.int64]) -> NDArray[np.int16]:
        """The table numbers of classes; `UNCODED` below the lowest."""
        return np.where(classes >= LOWEST, np.searchsorted(self.used, classes), UNCODED).astype(np.int16)

    def add(self, scaled: NDArray[np.float32], numbers: NDArray[np.int16]) -> None:
        """Counts values, in steps, each under its table number."""
        coded = numbers != UNCODED
        values = scaled[coded]
        tokens = integers.tokenise(np.rint(values.astype(np.float64)), values).symbols
        flat = numbers[coded].astype(np.int64) * integers.ALPHABET + tokens
        self._counts += np.bincount(flat, minlength=self._counts.size).reshape(self._counts.shape)

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


def runs(numbers: NDArray[np.int16]) -> tuple[NDArray[np.intp], Iterator[tuple[int, slice]]]:
    """An order in which values of one table stand together, and each table number with its part of that order."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    ends = [*starts[1:].tolist(), len(ordered)]
    return order, ((int(ordered[a]), slice(a, b)) for a, b in zip(starts.tolist(), ends, strict=False))
