"""Outliers: values far outside anything that calibration has seen, sent as they are beside the coefficients.

A massive activation that a transform does not know would be lost where its direction is not coded, and spread over
everything else where it is. So it is taken out before the transform: its place and its value, in 32 bits, follow the
coefficients, and the transform sees a zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, frequencies_from_weights
from lamofcbench.errors import BitstreamError

DEVIATIONS = 16.0
"""A value is an outlier from so many of its column's deviations on, and `STEPS` steps of the quantiser more."""
STEPS = 4.0
_COUNT_BITS = 24
MOST = 2**_COUNT_BITS - 1
_COUNTS = FrequencyTable(frequencies_from_weights(np.array([4096.0, *(2.0**-i for i in range(_COUNT_BITS))])))
"""Of how many bits the number of outliers has: nearly always none."""


@dataclass(frozen=True)
class Outliers:
    """Values of a matrix that stand for themselves.

    Attributes:
        rows, columns: where they stand, in rising order, int32 ``[N]``.
        values: float32 ``[N]``.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]

    @classmethod
    def none(cls) -> Outliers:
        """No values."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))

    @classmethod
    def find(cls, matrix: NDArray[np.float32], where: NDArray[np.bool_]) -> Outliers:
        """The values of ``[rows, C]`` at the places that ``where`` names."""
        rows, columns = (index[:MOST].astype(np.int32) for index in np.nonzero(where))
        return cls(rows, columns, matrix[rows, columns])

    def blank(self, matrix: NDArray[np.float32]) -> None:
        """Sets zero in place of the values."""
        matrix[self.rows, self.columns] = 0.0

    def put_back(self, matrix: NDArray[np.float32]) -> None:
        """Sets the values in ``[rows, C]``."""
        matrix[self.rows, self.columns] = self.values

    def encode(self, encoder: SymbolEncoder, shape: tuple[int, int]) -> None:
        """Appends number, places and values; ``shape`` is that of the matrix."""
        count = len(self.values)
        width = count.bit_length()
        encoder.put(np.array([width], np.int32), _COUNTS)
        if not count:
            return
        encoder.put_bits(np.array([count - (1 << (width - 1))], np.int32), width - 1)
        for places, size in zip((self.rows, self.columns), shape, strict=True):
            encoder.put_bits(places, (size - 1).bit_length())
        words = self.values.view(np.uint32)
        encoder.put_bits((words & 0xFFFF).astype(np.int32), 16)
        encoder.put_bits((words >> 16).astype(np.int32), 16)

    @classmethod
    def decode(cls, decoder: SymbolDecoder, shape: tuple[int, int]) -> Outliers:
        """What `encode` appended.

        Raises:
            BitstreamError: if there are more than values in the matrix, or a place or a value is none.
        """
        width = int(decoder.take(1, _COUNTS)[0])
        count = (1 << (width - 1)) + int(decoder.take_bits(1, width - 1)[0]) if width else 0
        if count > shape[0] * shape[1]:
            raise BitstreamError(f"bitstream claims {count} outliers among {shape[0] * shape[1]} values")
        rows, columns = (decoder.take_bits(count, max(size - 1, 0).bit_length()) for size in shape)
        words = decoder.take_bits(count, 16).astype(np.uint32)
        words |= decoder.take_bits(count, 16).astype(np.uint32) << np.uint32(16)
        values = words.view(np.float32)
        if count and (rows.max() >= shape[0] or columns.max() >= shape[1] or not np.isfinite(values).all()):
            raise BitstreamError("an outlier stands outside its matrix, or is not finite")
        return cls(rows, columns, values)
