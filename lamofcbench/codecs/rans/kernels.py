"""The loops over symbols. Import this module inside functions: that is when it is compiled.

A state is an integer below 2**32. Each symbol has a frequency ``f`` and a start ``c`` out of ``2**PRECISION``; coding
it takes the state x to ``(x // f << PRECISION) + x % f + c``, after the low 16 bits have gone to the stack of words
where the state would outgrow 32 bits. Decoding undoes that, in the opposite order.

All arithmetic is on signed 64-bit integers, which everything fits but products with reciprocals, of which the bits that
count are right all the same. What only names a place in an array comes unsigned, so that no index can be negative.
Helper functions are not called, because numba counts references to arrays at each call, which costs more than a symbol
does. The next state in turn is always ``x0``: with several lanes the states change places after each symbol.
"""

from __future__ import annotations

from typing import Any

from lamofcbench.codecs.rans.compiling import kernel
from lamofcbench.codecs.rans.layout import BUCKET_BITS, FREQUENCY_BITS, LOWEST, PRECISION, RECIPROCAL_BITS

_MASK = 2**PRECISION - 1
_FREQUENCY_MASK = 2**FREQUENCY_BITS - 1
_ROW_BITS = PRECISION - BUCKET_BITS
_WORD_MASK = 2**16 - 1
_LIMIT_BITS = 32 - PRECISION
_QUOTIENT_MASK = 2**_LIMIT_BITS - 1
_TOTAL = 2**PRECISION


@kernel(
    "int64(uint32[::1], uint16[::1], int64, int64[::1], int64, uint16[::1], int64,"
    " int32[::1], uint64[::1], uint64[::1], int64[::1], int64[::1], int64[::1])"
)
def encode(
    symbols: Any, words: Any, at: int, states: Any, lanes: int, numbers: Any, each: int,
    codes: Any, offsets: Any, sizes: Any, children: Any, escapes: Any, reciprocals: Any,
) -> int:  # fmt: skip
    """Codes symbols, the last first.

    Args:
        symbols: all of them.
        words: the stack, with room for two words a symbol.
        at: how many words it holds.
        states: the four states, changed; the next in turn first.
        lanes: 1 or 4.
        numbers: of the tables, in range.
        each: how many symbols in a row have the table of one number.
        codes: of all symbols of all tables, as `CoderTables` makes them; 0 behind an escape.
        offsets: where each table's codes begin.
        sizes: of the tables' alphabets.
        children: the second table of each table.
        escapes: the code of each table's escape.
        reciprocals: of all frequencies, as `CoderTables` makes them.

    Returns:
        How many words the stack holds now; -1 where a symbol is not of its table.
    """
    x0, x1, x2, x3 = states[0], states[1], states[2], states[3]
    index = len(symbols)
    for place in range(len(numbers) - 1, -1, -1):
        table = numbers[place]
        offset, size = offsets[table], sizes[table]
        for _ in range(each):
            index -= 1
            symbol = symbols[index]
            if symbol >= size:
                return -1
            code, then = codes[offset + symbol], 0
            if code == 0:
                code, then = codes[offsets[children[table]] + symbol], escapes[table]
            x = x0
            while True:
                frequency = code & _FREQUENCY_MASK
                words[at] = x & _WORD_MASK  # counts where the state is full: no branch, for none could foresee it
                full = int(x >= frequency << _LIMIT_BITS)
                at += full
                x >>= full << 4
                quotient = ((x * reciprocals[frequency]) >> RECIPROCAL_BITS) & _QUOTIENT_MASK
                x += quotient * (_TOTAL - frequency) + (code >> FREQUENCY_BITS)
                if then == 0:
                    break
                code, then = then, 0
            if lanes == 4:
                x0, x1, x2, x3 = x1, x2, x3, x
            else:
                x0 = x
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    return at


@kernel("int64(int32[::1], uint16[::1], int64, int64[::1], int64, int64)")
def encode_bits(values: Any, words: Any, at: int, states: Any, lanes: int, width: int) -> int:
    """Codes integers of ``width`` bits, 1 to 31, the last first; the rest is as in `encode`."""
    x0, x1, x2, x3 = states[0], states[1], states[2], states[3]
    for index in range(len(values) - 1, -1, -1):
        value = values[index]
        if value < 0 or value >> width != 0:
            return -1
        x, left = x0, width
        while left > 0:
            taken = min(left, 16)
            if x >> (32 - taken) != 0:
                words[at] = x & _WORD_MASK
                at += 1
                x >>= 16
            x = (x << taken) | (value & ((1 << taken) - 1))
            value >>= taken
            left -= taken
        if lanes == 4:
            x0, x1, x2, x3 = x1, x2, x3, x
        else:
            x0 = x
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    return at


@kernel(
    "int64(int32[::1], uint16[::1], int64, int64[::1], int64, int16[::1], int64,"
    " uint16[::1], int32[::1], int32[::1], int64[::1], int64[::1])"
)
def decode(
    symbols: Any, words: Any, at: int, states: Any, lanes: int, numbers: Any, each: int,
    buckets: Any, starts: Any, alphabet: Any, offsets: Any, children: Any,
) -> int:  # fmt: skip
    """Fills ``symbols``.

    Args:
        symbols: with room for ``each`` symbols a number.
        words: as in `encode`, taken from the end.
        at: as in `encode`.
        states: as in `encode`.
        lanes: as in `encode`.
        numbers: as in `encode`.
        each: as in `encode`.
        buckets: the first entry that a group of slots may have, as `CoderTables` makes them.
        starts: of all entries of all tables, each with its total behind it.
        alphabet: the symbols of these entries; negative for an escape.
        offsets: where each table's entries begin.
        children: the second table of each table.

    Returns:
        How many words are left.
    """
    x0, x1, x2, x3 = states[0], states[1], states[2], states[3]
    index = 0
    for place in range(len(numbers)):
        number = numbers[place]
        for _ in range(each):
            x, table = x0, number
            symbol = -1
            while symbol < 0:
                slot = x & _MASK
                entry = offsets[table] + buckets[(table << _ROW_BITS) + (slot >> BUCKET_BITS)]
                while starts[entry + 1] <= slot:
                    entry += 1
                start = starts[entry]
                x = (starts[entry + 1] - start) * (x >> PRECISION) + slot - start
                if x < LOWEST and at > 0:
                    at -= 1
                    x = (x << 16) | words[at]
                symbol = alphabet[entry]
                table = children[table]
            symbols[index] = symbol
            index += 1
            if lanes == 4:
                x0, x1, x2, x3 = x1, x2, x3, x
            else:
                x0 = x
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    return at


@kernel("int64(int32[::1], uint16[::1], int64, int64[::1], int64, int64)")
def decode_bits(values: Any, words: Any, at: int, states: Any, lanes: int, width: int) -> int:
    """Fills ``values`` with integers of ``width`` bits; the rest is as in `decode`."""
    x0, x1, x2, x3 = states[0], states[1], states[2], states[3]
    for index in range(len(values)):
        x, value, left = x0, 0, width
        while left > 0:
            taken = left - 16 if left > 16 else left  # the high part first
            value = (value << taken) | (x & ((1 << taken) - 1))
            x >>= taken
            if x < LOWEST and at > 0:
                at -= 1
                x = (x << 16) | words[at]
            left -= taken
        values[index] = value
        if lanes == 4:
            x0, x1, x2, x3 = x1, x2, x3, x
        else:
            x0 = x
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    return at
