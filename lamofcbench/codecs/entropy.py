"""Entropy coding that the quantising codecs share: integer frequency tables and one stream for a whole set.

Both sides build their tables from the same stored integers, so no float computed on one machine and not on the other
ever decides a table. Tables are leaky: every symbol can be coded, whatever calibration saw. All tensors of a set go
into one stream, because a stream of its own would cost a tensor up to two bytes.

Tables also say what a number of symbols costs at least, so that a decoder can refuse a short stream that claims many
before it makes room for them (`least_bytes`). There is one exception: the most frequent symbols of tables cost nothing
where they are decoded last, since the coder starts from zero. A stream that for this reason falls short is filled up
with zero bytes.

The coder is that of `lamofcbench.codecs.rans`, its format that of ``docs/bitstream.md``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.rans import tables as rans_tables
from lamofcbench.codecs.rans import words as rans_words
from lamofcbench.codecs.rans.compiling import argument, compiled
from lamofcbench.codecs.rans.layout import PRECISION
from lamofcbench.codecs.rans.tables import CoderTables
from lamofcbench.errors import BitstreamError, CodecError

Symbols = NDArray[np.int32]

PRECISION_BITS = 24
"""Frequencies of a table sum to two to this power."""

MAX_ALPHABET = 2**14
MAX_TABLES = 2**14
MAX_WIDTH = 31

COST_UNITS = 1024
"""Costs of symbols are counted in so many parts of a bit, in integers, so that both sides find the same."""
LEAST_SHARE = 4
"""Streams have at least one part in so many of what their symbols cost at least: so little that hardly any has to be
filled up, only one of which three quarters are most frequent symbols at its end."""


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
                f"a frequency table has shape {list(frequencies.shape)}; it is no table of 2 to {MAX_ALPHABET} symbols"
            )
        if frequencies.min() < 1 or int(frequencies.sum(dtype=np.int64)) != 2**PRECISION_BITS:
            raise CodecError("a frequency table has a frequency below 1, or a sum other than 2**24")
        self.frequencies = frequencies

    @functools.cached_property
    def coder(self) -> CoderTables:
        """The table as the coder needs it."""
        return CoderTables([self.frequencies])

    @functools.cached_property
    def least_cost(self) -> int:
        """What the most frequent symbol costs, in `COST_UNITS`, rounded down."""
        largest = int(rans_tables.first_table(self.frequencies.astype(np.int64))[1][0])
        return PRECISION * COST_UNITS - (largest**COST_UNITS - 1).bit_length()

    def __reduce__(self) -> tuple[type[FrequencyTable], tuple[NDArray[np.int32]]]:
        # Codecs travel to worker processes; what is derived is made there anew.
        return FrequencyTable, (self.frequencies,)


class TableStack:
    """Tables that are chosen symbol by symbol, by their number in this stack.

    Raises:
        CodecError: for more than `MAX_TABLES`.
    """

    def __init__(self, tables: Sequence[FrequencyTable]) -> None:
        if len(tables) > MAX_TABLES:
            raise CodecError(f"{len(tables)} frequency tables; at most {MAX_TABLES} are stacked")
        self._tables = tuple(tables)

    def __len__(self) -> int:
        return len(self._tables)

    @functools.cached_property
    def coder(self) -> CoderTables:
        """The tables as the coder needs them."""
        return CoderTables([table.frequencies for table in self._tables])

    @functools.cached_property
    def least_cost(self) -> int:
        """What a symbol of each table costs at the least, together."""
        return sum(table.least_cost for table in self._tables)

    def __reduce__(self) -> tuple[type[TableStack], tuple[tuple[FrequencyTable, ...]]]:
        return TableStack, (self._tables,)

    def checked(self, numbers: NDArray[np.integer]) -> NDArray[np.int16]:
        """Table numbers as the coder takes them.

        Raises:
            IndexError: if one is not of this stack.
        """
        if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(self):
            raise IndexError(f"table numbers {numbers.min()} to {numbers.max()} of a stack of {len(self)} tables")
        return np.require(numbers.reshape(-1), np.int16, ["C", "W"])


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


class _Push(NamedTuple):
    """Symbols that wait to be coded, how many words each takes at most, the loop that codes them, and what they cost.

    The cost is about that of every so many symbols, in bits.
    """

    symbols: NDArray[Any]
    steps: int
    code: Callable[[Any, Any, int, Any, int], int]
    bits: Callable[[int], float]


_NEAR = 64
"""By fewer bytes the sizes of a stream with few and with many lanes differ."""
_SAMPLED = 2**12
"""Symbols by which the size of a stream is estimated; of so many or fewer it is not."""
_ONE_TABLE = np.zeros(1, np.int16)


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
        (2, [0, 2, 0], [5], None)
    """

    def __init__(self, least: int = 0) -> None:
        self._least = least
        self._pushes: list[_Push] = []

    def put(self, symbols: Symbols, table: FrequencyTable) -> None:
        """Appends symbols of one table; they are not copied and must stay as they are until `finish`."""
        if symbols.size:
            self._put(symbols, _ONE_TABLE, table.coder)

    def put_indexed(self, symbols: Symbols, numbers: NDArray[np.integer], tables: TableStack) -> None:
        """Appends symbols, each of the table that its number names; they are not copied either.

        Args:
            symbols: any shape.
            numbers: one a symbol, or one for every so many symbols in a row, in rising order of places.
            tables: that numbers refer to.
        """
        if symbols.size:
            self._put(symbols, tables.checked(numbers), tables.coder)

    def put_bits(self, values: Symbols, width: int) -> None:
        """Appends integers of ``width`` bits each (at most 31), which cost exactly that."""
        if not 0 <= width <= MAX_WIDTH:
            raise ValueError(f"integers of {width} bits; at most {MAX_WIDTH} are coded")
        if values.size and width:
            code = functools.partial(_call_with, "encode_bits", (width,))
            self._pushes.append(_Push(_flat(values), 1 + (width > 16), code, lambda every: values.size * width / every))

    def _put(self, symbols: Symbols, numbers: NDArray[np.int16], tables: CoderTables) -> None:
        each, rest = divmod(symbols.size, max(len(numbers), 1))
        if rest:
            raise ValueError(f"{symbols.size} symbols cannot share {len(numbers)} table numbers evenly")
        flat, of_each = _flat(symbols), _of_each(numbers, each)

        def bits(every: int) -> float:
            places = np.arange(0, flat.size, every)
            return tables.bits(flat[places], of_each[places])

        code = functools.partial(_call_with, "encode", (argument(of_each.view(np.uint16)), *tables.for_encoder))
        self._pushes.append(_Push(flat.view(np.uint32), tables.steps, code, bits))

    def finish(self) -> bytes:
        """The coded bytes.

        Raises:
            CodecError: if a symbol is not of its table.
        """
        most_bytes = 4 + 2 * sum(push.symbols.size * push.steps for push in self._pushes)
        # Streams take some twice what their symbols cost at least. Either order gives the same bytes nearly always.
        expected = 2 * LEAST_SHARE * self._least or sum(push.symbols.size for push in self._pushes) // 4
        tries = [rans_words.LANES, 1] if expected >= rans_words.LANES_FROM else [1, rans_words.LANES]
        if self._least >= rans_words.LANES_FROM:
            tries = [rans_words.LANES]
        elif (likely := self._likely_lanes(tries[0])) != tries[0]:
            coded = self._coded(likely, most_bytes)
            if abs(len(coded) - rans_words.LANES_FROM) > _NEAR and rans_words.lanes_of(len(coded)) == likely:
                return coded.ljust(self._least, b"\0")
        coded = b""
        for lanes in tries:
            coded = self._coded(lanes, most_bytes)
            if rans_words.lanes_of(max(len(coded), self._least)) == lanes:
                return coded.ljust(self._least, b"\0")
        # One lane just reaches the size from which there are more, and more lanes fall just short of it.
        coded = coded if tries[-1] > 1 else self._coded(rans_words.LANES, most_bytes)
        return coded.ljust(max(self._least, rans_words.LANES_FROM), b"\0")

    def _likely_lanes(self, unless_many: int) -> int:
        """How many lanes the stream will have, from the cost of some symbols; as told where there are few of them."""
        every = sum(push.symbols.size for push in self._pushes) // _SAMPLED
        if not every:
            return unless_many
        try:
            return rans_words.lanes_of(int(sum(push.bits(every) for push in self._pushes)) * every // 8)
        except IndexError:  # a symbol is not of its table, which coding it will tell
            return unless_many

    def _coded(self, lanes: int, most_bytes: int) -> bytes:
        words, states = argument(np.empty(most_bytes // 2, np.uint16)), argument(rans_words.first_states(lanes))
        at = 0
        for push in reversed(self._pushes):  # what is put away last is decoded first
            at = push.code(argument(push.symbols), words, at, states, lanes)
            if at < 0:
                raise CodecError("a symbol is outside of its table's alphabet, or an integer has more bits than stated")
        return rans_words.to_bytes(np.array(words[:at], np.uint16), [int(state) for state in states], lanes)


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
        self._lanes = rans_words.lanes_of(len(payload))
        if payload.endswith(b"\0"):
            if len(payload) not in (least, rans_words.LANES_FROM):
                raise BitstreamError("coded symbols end in a zero byte, which no encoder writes")
            payload = payload.rstrip(b"\0")
        words, states = rans_words.from_bytes(payload, self._lanes)
        self._words, self._left = argument(words), len(words)
        self._states = argument(np.array(states, np.int64))

    def take(self, count: int, table: FrequencyTable) -> Symbols:
        """The next symbols of one table, int32 ``[count]``."""
        return self._take(count, _ONE_TABLE, table)

    def take_indexed(self, numbers: NDArray[np.integer], tables: TableStack, each: int = 1) -> Symbols:
        """The next symbols, ``each`` in a row of the table that a number names, int32 ``[numbers * each]``."""
        checked = tables.checked(numbers)
        return self._take(len(checked) * each, checked, tables)

    def take_bits(self, count: int, width: int) -> Symbols:
        """The next integers of ``width`` bits each, int32 ``[count]``."""
        if not 0 <= width <= MAX_WIDTH:
            raise ValueError(f"integers of {width} bits; at most {MAX_WIDTH} are coded")
        if not count or not width:
            return np.zeros(count, np.int32)
        return self._fill(count, "decode_bits", (width,))

    def finish(self) -> None:
        """Checks that the bytes held these symbols and nothing else, which random bytes do not."""
        first = rans_words.first_states(self._lanes)[: self._lanes].tolist()
        if self._left or list(self._states[: self._lanes]) != first:
            raise BitstreamError("coded symbols do not end where they should")

    def _take(self, count: int, numbers: NDArray[np.int16], tables: FrequencyTable | TableStack) -> Symbols:
        if not count:
            return np.empty(0, np.int32)
        of_each = _of_each(numbers, count // len(numbers))
        return self._fill(count, "decode", (argument(of_each), *tables.coder.for_decoder))

    def _fill(self, count: int, name: str, more: tuple[Any, ...]) -> Symbols:
        symbols = np.empty(count, np.int32) if compiled() else [0] * count
        self._left = _call_with(name, more, symbols, self._words, self._left, self._states, self._lanes)
        return np.asarray(symbols, np.int32)


def _of_each(numbers: NDArray[np.int16], each: int) -> NDArray[np.int16]:
    """Numbers of so many symbols in a row, as one a symbol."""
    return np.repeat(numbers, each) if each > 1 else numbers


def _flat(values: Symbols) -> Symbols:
    return np.require(values.reshape(-1), np.int32, ["C", "W"])  # kernels are compiled for arrays that can be written


@functools.cache
def _kernels() -> ModuleType:
    from lamofcbench.codecs.rans import kernels  # compiled at its import

    return kernels


def _call_with(name: str, more: tuple[Any, ...], symbols: Any, words: Any, at: int, states: Any, lanes: int) -> int:
    """Runs a kernel on symbols, words and states, and what it needs besides; how many words there are then."""
    return int(getattr(_kernels(), name)(symbols, words, at, states, lanes, *more))
