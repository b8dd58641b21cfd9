"""Values ``[rows, channels]`` in steps, coded by a table a channel, which channels of equal spread share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder
from lamofcbench.codecs.transform.classes import UNCODED, runs

Matrix = NDArray[np.float32]
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ChannelTables:
    """Which table codes each channel.

    Attributes:
        numbers: int16 ``[channels]``; `UNCODED` where a channel is taken for zero.
        tables: by number.
    """

    numbers: NDArray[np.int16]
    tables: Sequence[FrequencyTable]

    def put(self, encoder: SymbolEncoder, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Appends values, in steps, and returns what `take` will: the nearest integers, zero where not coded."""
        columns, parts = self._ordered()
        values = np.clip(scaled[:, columns].T, -_LARGEST, _LARGEST)
        rounded = np.rint(values)
        tokens = integers.tokenise(rounded, values.astype(np.float32))
        for table, part in parts:
            encoder.put(tokens.symbols[part], self.tables[table])
        tokens.put_extras(encoder)
        raw = tokens.symbols == integers.RAW
        rounded[raw] = values.astype(np.float32)[raw]
        return self._spread(rounded, columns)

    def take(self, decoder: SymbolDecoder, rows: int) -> NDArray[np.float64]:
        """The values ``[rows, channels]`` that `put` appended, in steps."""
        columns, parts = self._ordered()
        symbols = np.empty((len(columns), rows), np.int32)
        for table, part in parts:
            segment = symbols[part]
            segment[...] = decoder.take(segment.size, self.tables[table]).reshape(segment.shape)
        values, raw, originals = integers.detokenise(symbols, 1.0, decoder)
        values.reshape(-1)[raw] = originals
        return self._spread(values, columns)

    def least_cost(self) -> int:
        """What a row costs at the least, for `lamofcbench.codecs.entropy.least_bytes`."""
        return sum(self.tables[number].least_cost for number in self.numbers[self.numbers != UNCODED].tolist())

    def _ordered(self) -> tuple[NDArray[np.intp], list[tuple[int, slice]]]:
        coded = np.flatnonzero(self.numbers != UNCODED)
        order, parts = runs(self.numbers[coded])
        return coded[order], list(parts)

    def _spread(self, values: NDArray[np.float64], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        result = np.zeros((values.shape[1], len(self.numbers)))
        result[:, columns] = values.T
        return result
