"""Values ``[rows, channels]`` in steps, coded by a table a channel, which channels of equal spread share."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, TableStack
from lamofcbench.codecs.transform.classes import AN_OCTAVE

Matrix = NDArray[np.float32]
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ChannelTables:
    """Which table codes each channel.

    Attributes:
        numbers: int16 ``[channels]``.
        tables: by number.
    """

    numbers: NDArray[np.int16]
    tables: Sequence[FrequencyTable]

    def put(self, encoder: SymbolEncoder, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Appends values, in steps, and returns what `take` will: the nearest integers."""
        values = np.clip(scaled.T, -_LARGEST, _LARGEST)
        rounded = np.rint(values)
        tokens = integers.tokenise(rounded, values.astype(np.float32))
        encoder.put_indexed(tokens.symbols, self.numbers, self._stack)
        tokens.put_extras(encoder)
        raw = tokens.symbols == integers.RAW
        rounded[raw] = values.astype(np.float32)[raw]
        return rounded.T

    def take(self, decoder: SymbolDecoder, rows: int) -> NDArray[np.float64]:
        """The values ``[rows, channels]`` that `put` appended, in steps."""
        symbols = decoder.take_indexed(self.numbers, self._stack, each=rows).reshape(len(self.numbers), rows)
        values, raw, originals = integers.detokenise(symbols, 1.0, decoder)
        values.reshape(-1)[raw] = originals
        return values.T

    @functools.cached_property
    def least_cost(self) -> int:
        """What a row costs at the least, for `lamofcbench.codecs.entropy.least_bytes`."""
        return sum(self.tables[number].least_cost for number in self.numbers.tolist())

    @functools.cached_property
    def _stack(self) -> TableStack:
        return TableStack(self.tables)


class ChannelCounts:
    """Counts integers by class of spread, and makes a table for each class.

    Args:
        classes: of all channels, from `lamofcbench.codecs.transform.classes.classes_of`.
    """

    def __init__(self, classes: Iterable[NDArray[np.int64]]) -> None:
        self._used = np.unique(np.concatenate([np.zeros(1, np.int64), *(each.reshape(-1) for each in classes)]))
        self._counts = np.zeros((len(self._used), integers.ALPHABET), np.int64)

    def numbers(self, classes: NDArray[np.int64]) -> NDArray[np.int16]:
        """The table numbers of classes."""
        return np.searchsorted(self._used, classes).astype(np.int16)

    def add(self, scaled: NDArray[np.float64], numbers: NDArray[np.int16]) -> None:
        """Counts values ``[rows, channels]``, in steps, each under the number of its channel."""
        values = np.clip(scaled, -_LARGEST, _LARGEST)
        symbols = integers.tokenise(np.rint(values), values.astype(np.float32)).symbols
        for channel, number in enumerate(numbers.tolist()):
            self._counts[number] += integers.count_tokens(symbols[:, channel])

    def frequencies(self) -> NDArray[np.int32]:
        """The tables, ``[tables, tokens]``."""
        spreads = 2.0 ** (self._used / AN_OCTAVE)
        return np.array([integers.learned_frequencies(*of) for of in zip(self._counts, spreads, strict=True)], np.int32)
