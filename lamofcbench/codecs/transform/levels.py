"""Levels: how much more or less a row deviates than rows of its profile do, and how finely it is coded.

Deviations are calibrated by profile, but rows of one profile are not all alike, and those of another task may be
nothing like them: where nothing varied in calibration, everything may. So the encoder chooses for each row by how much
all classes of its coefficients are shifted, by rate and distortion together, and sends the choice. What is usual for a
group of tensors has a table of its own, learned from calibration.

A sample that deviates far more than any of calibration is *foreign*: it says so in its first symbol. Shifts then have a
table in which none is rare. And rows whose place is known to deviate little, as the last one of a prompt does, which
the answer hangs on, are coded in finer steps if they would else be left with more error than they deviate by at home.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import (
    PRECISION_BITS,
    FrequencyTable,
    SymbolDecoder,
    SymbolEncoder,
    frequencies_from_weights,
)
from lamofcbench.codecs.rans.compiling import argument
from lamofcbench.codecs.transform.classes import AN_OCTAVE, BITS_WORTH, LOWEST

SHIFTS = (-6, -4, -2, 0, 2, 4, 6, 8, 10, 12)
"""By how many classes those of a row may be shifted."""
HALVINGS = 4
"""The steps of a row may be halved less than so many times."""
COUNT = len(SHIFTS) * HALVINGS
USUAL = SHIFTS.index(0)
"""The level of rows that are what their profile says."""
TOLERANCE = 2.0
"""A row may be left with so many times the error that its place deviates by before its steps are halved."""
REACH = SHIFTS[-1] + AN_OCTAVE * (HALVINGS - 1)
"""So many classes below the lowest a coefficient may stand and yet be coded in some row."""

_PRIOR = np.zeros((HALVINGS, len(SHIFTS)))
_PRIOR[0] = 0.3, 0.6, 1.2, 12.0, 1.2, 0.6, 0.3, 0.1, 0.05, 0.02
_FOREIGN = np.outer((8.0, 1.0, 1.0, 1.0), (1.0, 2.0, 3.0, 6.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)).reshape(-1)
FOREIGN_TABLE = FrequencyTable(frequencies_from_weights(_FOREIGN))
"""Of the levels of foreign samples."""
IS_FOREIGN = FrequencyTable(frequencies_from_weights(np.array([255.0, 1.0])))
"""Of the symbol that says whether a sample is foreign."""
_COSTS_OF = 128
"""Costs of tokens are looked up for magnitudes below."""

Values = NDArray[np.float32]
Numbers = NDArray[np.int16]
Index = NDArray[np.intp]


def level_frequencies(counts: NDArray[np.int64] | None = None) -> NDArray[np.int32]:
    """The table of levels, from how often each was chosen in calibration; None for what is plausible."""
    return frequencies_from_weights(_PRIOR.reshape(-1) + (0 if counts is None else counts))


@dataclass(frozen=True)
class Costs:
    """What the encoder chooses by.

    Attributes:
        bits: of the tokens of small integers, by table, float32 ``[tables, 2 * _COSTS_OF - 1]``.
        shifts: of centroids, float32 ``[tables, MAGNITUDES]``.
    """

    bits: Values
    shifts: Values

    @classmethod
    def of(cls, frequencies: NDArray[np.int32], shifts: Values) -> Costs:
        """Those of tables ``[tables, tokens]``."""
        small = frequencies[:, integers.ZERO - _COSTS_OF + 1 : integers.ZERO + _COSTS_OF]
        return cls(_bits(small), shifts)


def _bits(frequencies: NDArray[np.int32]) -> Values:
    return (PRECISION_BITS - np.log2(frequencies.astype(np.float64))).astype(np.float32)


@dataclass(frozen=True)
class Levels:
    """Those of a sample's rows.

    Attributes:
        numbers: ``[rows]``: the halvings of the step times the number of shifts, plus the place among `SHIFTS`.
    """

    numbers: NDArray[np.int32]

    @property
    def gains(self) -> Values:
        """What values of each row are multiplied by before they are rounded, ``[rows, 1]``."""
        return np.exp2(self.numbers // len(SHIFTS)).astype(np.float32)[:, None]

    @property
    def classes(self) -> Numbers:
        """By how many the classes of each row are shifted in all, ``[rows, 1]``."""
        halvings, shifts = np.divmod(self.numbers, len(SHIFTS))
        return (np.array(SHIFTS)[shifts] + AN_OCTAVE * halvings).astype(np.int16)[:, None]

    def encode(self, encoder: SymbolEncoder, table: FrequencyTable) -> None:
        """Appends the levels of rows."""
        encoder.put(self.numbers, table)

    @classmethod
    def decode(cls, decoder: SymbolDecoder, rows: int, table: FrequencyTable) -> Levels:
        """What `encode` appended for so many rows; every symbol of a table is a level."""
        return cls(decoder.take(rows, table))


def put_foreign(encoder: SymbolEncoder, foreign: bool) -> None:
    """Appends whether a sample is foreign."""
    encoder.put(np.array([foreign], np.int32), IS_FOREIGN)


def take_foreign(decoder: SymbolDecoder) -> bool:
    """What `put_foreign` appended."""
    return bool(decoder.take(1, IS_FOREIGN)[0])


def levels_table(foreign: bool, usual: FrequencyTable) -> FrequencyTable:
    """The table of the levels of a sample."""
    return FOREIGN_TABLE if foreign else usual


def choose_levels(
    scaled: Values, numbers: Numbers, profiles: Index, bounded: Index, costs: Costs, table: FrequencyTable
) -> Levels:
    """The levels that cost least, in rate and distortion together.

    Args:
        scaled: coefficients of a sample in steps, ``[rows, K]``.
        numbers: of their tables, by profile, ``[P, K]``; negative where they are not coded.
        profiles: of the rows.
        bounded: of a foreign sample, the profiles whose rows are not left with more error than they deviate by.
        costs: of tokens.
        table: of levels.
    """
    if not scaled.size or not len(costs.bits):
        return Levels(np.full(len(scaled), USUAL, np.int32))
    lowest = int(numbers.min(initial=0))
    squares = np.exp2((np.arange(lowest, int(numbers.max(initial=0)) + 1) + LOWEST) * (2 / AN_OCTAVE))
    energies = squares[numbers - lowest].sum(1)
    bounds = np.where(np.isin(profiles, bounded), energies[profiles], np.finfo(np.float64).max / TOLERANCE / 2)
    found = argument(np.zeros(len(scaled), np.int32))  # which plain Python fills in place of the array
    _kernels().choose(
        found,
        *map(
            argument,
            (
                np.ascontiguousarray(scaled, np.float32),
                np.ascontiguousarray(numbers),
                profiles.astype(np.int64),
                energies,
                bounds,
                costs.bits,
                costs.shifts,
                np.array(SHIFTS, np.int64),
                _bits(table.frequencies),
            ),
        ),
        USUAL,
        HALVINGS,
        BITS_WORTH,
        TOLERANCE,
    )
    return Levels(np.asarray(found, np.int32))


@functools.cache
def _kernels() -> ModuleType:
    from lamofcbench.codecs.transform import level_kernels  # compiled at its import

    return level_kernels
