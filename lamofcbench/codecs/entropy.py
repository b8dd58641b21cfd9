"""Entropy coding that the quantising codecs share: integer frequency tables and one ANS stream for a whole set.

Both sides build their tables from the same stored integers, so no float computed on one machine and not on the other
ever decides a table. Tables are leaky: every symbol can be coded, whatever calibration saw. All tensors of a set go
into one stream, because a stream of its own would cost a tensor up to eight bytes.

Tables also say what a number of symbols costs at least, so that a decoder can refuse a short stream that claims many
before it makes room for them (`least_bytes`). There is one exception: symbols 0 that are decoded last cost nothing,
since the coder starts from zero. A stream that for this reason falls short is filled up with zero bytes.

Sources: asymmetric numeral systems, Duda, arXiv 1311.2540; the coder is constriction, Bamler, arXiv 2201.01741.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from lamofcbench.errors import BitstreamError, CodecError

Symbols = NDArray[np.int32]

PRECISION_BITS = 24
"""Frequencies of a table sum to two to this power, the coder's own precision."""

MAX_ALPHABET = 2**16

COST_UNITS = 1024
"""Costs of symbols are counted in so many parts of a bit, in integers, so that both sides find the same."""
LEAST_SHARE = 4
"""Streams have at least one part in so many of what their symbols cost at least: so little that hardly any has to be
filled up, only one of which three quarters are symbols 0 at its end."""


def frequencies_from_weights(weights: NDArray[np.float64]) -> NDArray[np.int32]:
    """Integer frequencies in proportion to weights, each at least 1, that sum to ``2**PRECISION_BITS``.

    Args:
        weights: non-negative counts or probabilities, ``[symbols]``; all zero means no preference.

    Example:
        >>> frequencies_from_weights(np.array([3.0, 1.0, 0.0])).tolist()
        [12582911, 4194304, 1]
    """
    total = 2**PRECISION_BITS
    weights = np.asarray(weights, np.float64)
    largest = weights.max(initial=0.0)
    weights = weights / largest if largest > 0 else np.ones_like(weights)  # the sum neither over- nor underflows
    frequencies = np.maximum(np.rint(weights * (total / weights.sum())), 1).astype(np.int64)
    # What rounding and the floor of 1 add or take goes to the frequent symbols, which feel it least.
    for index in np.argsort(-frequencies, kind="stable"):
        surplus = int(frequencies.sum()) - total
        if not surplus:
            break
        frequencies[index] -= min(surplus, int(frequencies[index]) - 1)
    return frequencies.astype(np.int32)


class FrequencyTable:
    """An entropy model over the symbols ``0 .. len(frequencies) - 1``.

    Raises:
        CodecError: if the frequencies, which may come from a stranger's saved folder, are none.
    """

    def __init__(self, frequencies: NDArray[np.int32]) -> None:
        if frequencies.ndim != 1 or not 2 <= len(frequencies) <= MAX_ALPHABET:
            raise CodecError(
                f"a frequency table has shape {list(frequencies.shape)}; it is no table of 2 to 65536 symbols"
            )
        if frequencies.min() < 1 or int(frequencies.sum(dtype=np.int64)) != 2**PRECISION_BITS:
            raise CodecError("a frequency table has a frequency below 1, or a sum other than 2**24")
        self._frequencies = frequencies
        # Dividing by a power of two is exact, and so are the sums that constriction takes of the quotients.
        self.model = constriction.stream.model.Categorical(frequencies / 2.0**PRECISION_BITS, perfect=False, lazy=False)

    @functools.cached_property
    def least_cost(self) -> int:
        """What the most frequent symbol costs, in `COST_UNITS`, rounded down."""
        largest = int(self._frequencies.max())
        return PRECISION_BITS * COST_UNITS - (largest**COST_UNITS - 1).bit_length()

    def __reduce__(self) -> tuple[type[FrequencyTable], tuple[NDArray[np.int32]]]:
        # The coder's model cannot be pickled, but codecs travel to worker processes.
        return FrequencyTable, (self._frequencies,)


def least_bytes(cost: int) -> int:
    """The size that a stream has at the least.

    Args:
        cost: of its symbols: counts times `FrequencyTable.least_cost`, summed.

    Example:
        >>> table = FrequencyTable(frequencies_from_weights(np.array([1.0, 1.0, 1.0, 1.0])))
        >>> least_bytes(1000 * table.least_cost)
        62
    """
    return cost // (LEAST_SHARE * 8 * COST_UNITS)


class SymbolEncoder:
    """Collects symbols in the order in which a `SymbolDecoder` takes them.

    Args:
        least: the size of the coded bytes at the least, from `least_bytes`.

    Example:
        >>> table = FrequencyTable(frequencies_from_weights(np.array([6.0, 1.0, 1.0])))
        >>> encoder = SymbolEncoder()
        >>> encoder.put(np.array([0, 2, 0], np.int32), table); encoder.put_bits(np.array([5], np.int32), width=3)
        >>> payload = encoder.finish()
        >>> decoder = SymbolDecoder(payload)
        >>> len(payload), decoder.take(3, table).tolist(), decoder.take_bits(1, width=3).tolist(), decoder.finish()
        (4, [0, 2, 0], [5], None)
    """

    def __init__(self, least: int = 0) -> None:
        self._least = least
        self._pushes: list[tuple[Symbols, Any]] = []

    def put(self, symbols: Symbols, table: FrequencyTable) -> None:
        """Appends symbols of one table; they are not copied and must stay as they are until `finish`."""
        if symbols.size:
            self._pushes.append((symbols.reshape(-1), table.model))

    def put_bits(self, values: Symbols, width: int) -> None:
        """Appends integers of ``width`` bits each (at most 24), which cost exactly that."""
        if values.size and width:
            self._pushes.append((values.reshape(-1), _bits_model(width)))

    def finish(self) -> bytes:
        """The coded bytes."""
        coder = constriction.stream.stack.AnsCoder()
        for symbols, model in reversed(self._pushes):  # what is pushed last onto the stack is decoded first
            coder.encode_reverse(symbols, model)
        # The last word is never zero, so its leading zero bytes (little endian: the last ones) need not be stored.
        coded = coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")
        return coded.ljust(self._least, b"\0")


class SymbolDecoder:
    """Takes symbols from coded bytes, in the order in which they were put.

    Args:
        payload: the coded bytes.
        least: the size that the encoder was given.

    Raises:
        BitstreamError: from any method, for bytes that no encoder wrote.
    """

    def __init__(self, payload: bytes, least: int = 0) -> None:
        if len(payload) < least:
            raise BitstreamError(
                f"{len(payload)} bytes of coded symbols are too few for the shapes, which take {least}"
            )
        if payload.endswith(b"\0"):
            if len(payload) > least:
                raise BitstreamError("coded symbols end in a zero byte, which no encoder writes")
            payload = payload.rstrip(b"\0")
        words = np.frombuffer(payload + bytes(-len(payload) % 4), "<u4").astype(np.uint32)
        with _coder_errors():
            self._coder = constriction.stream.stack.AnsCoder(words)

    def take(self, count: int, table: FrequencyTable) -> Symbols:
        """The next symbols of one table, int32 ``[count]``."""
        if not count:
            return np.empty(0, np.int32)
        with _coder_errors():
            symbols: Symbols = self._coder.decode(table.model, count)
        return symbols

    def take_bits(self, count: int, width: int) -> Symbols:
        """The next integers of ``width`` bits each, int32 ``[count]``."""
        if not count or not width:
            return np.zeros(count, np.int32)
        with _coder_errors():
            values: Symbols = self._coder.decode(_bits_model(width), count)
        return values

    def finish(self) -> None:
        """Checks that the bytes held these symbols and nothing else, which random bytes do not."""
        if not self._coder.is_empty():
            raise BitstreamError("coded symbols do not end where they should")


def _bits_model(width: int) -> Any:
    return constriction.stream.model.Uniform(2**width)


@contextmanager
def _coder_errors() -> Iterator[None]:
    """Turns whatever the coder raises, a panic of its Rust side included, into a `BitstreamError`."""
    try:
        yield
    except Exception as error:
        raise BitstreamError(f"coded symbols cannot be decoded: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # it derives from BaseException and cannot be imported
            raise
        raise BitstreamError(f"coded symbols cannot be decoded: {error}") from error
