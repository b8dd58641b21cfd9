"""The loops over symbols. Import this module inside functions: that is when it is compiled.

A state is an integer below 2**32. Each symbol has a frequency ``f`` and a start ``c`` out of ``2**PRECISION``; coding
it takes the state x to ``(x // f << PRECISION) + x % f + c``, after the low 16 bits have gone to the stack of words
where the state would outgrow 32 bits. Decoding undoes that, in the opposite order.

All arithmetic is on signed 64-bit integers, which everything fits but products with reciprocals, of which the bits that
count are right all the same. What only names a place in an array comes unsigned, so that no index can be negative.
Helper functions are not called, because numba counts references to arrays at each call, which costs more than a symbol
does. The next state in turn is always ``x0``: with several lanes the states change places after each symbol. Four
symbols of four lanes, none behind an escape, are taken at once: the processor works at all of them side by side.
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
    "int64(uint32[::1], uint16[::1], int64, int64[::1], int64, uint16[::1],"
    " int32[::1], uint64[::1], uint64[::1], int64[::1], int64[::1], int64[::1])"
)
def encode(
    symbols: Any, words: Any, at: int, states: Any, lanes: int, numbers: Any,
    codes: Any, offsets: Any, sizes: Any, children: Any, escapes: Any, reciprocals: Any,
) -> int:  # fmt: skip
    """Codes symbols, the last first.

    Args:
        symbols: all of them.
        words: the stack, with room for two words a symbol.
        at: how many words it holds.
        states: the four states, changed; the next in turn first.
        lanes: 1 or 4.
        numbers: of the tables of the symbols, in range.
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
    while index > 0:
        if lanes == 4 and index >= 4:
            i0, i1, i2, i3 = index - 1, index - 2, index - 3, index - 4
            n0, n1, n2, n3 = numbers[i0], numbers[i1], numbers[i2], numbers[i3]
            s0, s1, s2, s3 = symbols[i0], symbols[i1], symbols[i2], symbols[i3]
            if s0 >= sizes[n0] or s1 >= sizes[n1] or s2 >= sizes[n2] or s3 >= sizes[n3]:
                return -1
            c0, c1 = codes[offsets[n0] + s0], codes[offsets[n1] + s1]
            c2, c3 = codes[offsets[n2] + s2], codes[offsets[n3] + s3]
            if c0 != 0 and c1 != 0 and c2 != 0 and c3 != 0:
                f0, f1 = c0 & _FREQUENCY_MASK, c1 & _FREQUENCY_MASK
                f2, f3 = c2 & _FREQUENCY_MASK, c3 & _FREQUENCY_MASK
                words[at] = x0 & _WORD_MASK  # counts where the state is full: no branch, for none could foresee it
                full = int(x0 >= f0 << _LIMIT_BITS)
                at += full
                x0 >>= full << 4
                words[at] = x1 & _WORD_MASK
                full = int(x1 >= f1 << _LIMIT_BITS)
                at += full
                x1 >>= full << 4
                words[at] = x2 & _WORD_MASK
                full = int(x2 >= f2 << _LIMIT_BITS)
                at += full
                x2 >>= full << 4
                words[at] = x3 & _WORD_MASK
                full = int(x3 >= f3 << _LIMIT_BITS)
                at += full
                x3 >>= full << 4
                q0 = ((x0 * reciprocals[f0]) >> RECIPROCAL_BITS) & _QUOTIENT_MASK
                q1 = ((x1 * reciprocals[f1]) >> RECIPROCAL_BITS) & _QUOTIENT_MASK
                q2 = ((x2 * reciprocals[f2]) >> RECIPROCAL_BITS) & _QUOTIENT_MASK
                q3 = ((x3 * reciprocals[f3]) >> RECIPROCAL_BITS) & _QUOTIENT_MASK
                x0 += q0 * (_TOTAL - f0) + (c0 >> FREQUENCY_BITS)
                x1 += q1 * (_TOTAL - f1) + (c1 >> FREQUENCY_BITS)
                x2 += q2 * (_TOTAL - f2) + (c2 >> FREQUENCY_BITS)
                x3 += q3 * (_TOTAL - f3) + (c3 >> FREQUENCY_BITS)
                index -= 4
                continue
        index -= 1
        table, symbol = numbers[index], symbols[index]
        if symbol >= sizes[table]:
            return -1
        code, then = codes[offsets[table] + symbol], 0
        if code == 0:
            code, then = codes[offsets[children[table]] + symbol], escapes[table]
        x = x0
        while True:
            frequency = code & _FREQUENCY_MASK
            words[at] = x & _WORD_MASK
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
    "int64(int32[::1], uint16[::1], int64, int64[::1], int64, int16[::1],"
    " uint16[::1], int32[::1], int32[::1], int64[::1], int64[::1])"
)
def decode(
    symbols: Any, words: Any, at: int, states: Any, lanes: int, numbers: Any,
    buckets: Any, starts: Any, alphabet: Any, offsets: Any, children: Any,
) -> int:  # fmt: skip
    """Fills ``symbols``.

    Args:
        symbols: with room for one a number.
        words: as in `encode`, taken from the end.
        at: as in `encode`.
        states: as in `encode`.
        lanes: as in `encode`.
        numbers: as in `encode`.
        buckets: the first entry that a group of slots may have, as `CoderTables` makes them.
        starts: of all entries of all tables, each with its total behind it.
        alphabet: the symbols of these entries; negative for an escape.
        offsets: where each table's entries begin.
        children: the second table of each table.

    Returns:
        How many words are left.
    """
    x0, x1, x2, x3 = states[0], states[1], states[2], states[3]
    index, count = 0, len(numbers)
    while index < count:
        if lanes == 4 and index + 4 <= count and at >= 4:
            i1, i2, i3 = index + 1, index + 2, index + 3
            n0, n1, n2, n3 = numbers[index], numbers[i1], numbers[i2], numbers[i3]
            s0, s1, s2, s3 = x0 & _MASK, x1 & _MASK, x2 & _MASK, x3 & _MASK
            e0 = offsets[n0] + buckets[(n0 << _ROW_BITS) + (s0 >> BUCKET_BITS)]
            e1 = offsets[n1] + buckets[(n1 << _ROW_BITS) + (s1 >> BUCKET_BITS)]
            e2 = offsets[n2] + buckets[(n2 << _ROW_BITS) + (s2 >> BUCKET_BITS)]
            e3 = offsets[n3] + buckets[(n3 << _ROW_BITS) + (s3 >> BUCKET_BITS)]
            while starts[e0 + 1] <= s0:
                e0 += 1
            while starts[e1 + 1] <= s1:
                e1 += 1
            while starts[e2 + 1] <= s2:
                e2 += 1
            while starts[e3 + 1] <= s3:
                e3 += 1
            a0, a1, a2, a3 = alphabet[e0], alphabet[e1], alphabet[e2], alphabet[e3]
            if a0 >= 0 and a1 >= 0 and a2 >= 0 and a3 >= 0:
                b0, b1, b2, b3 = starts[e0], starts[e1], starts[e2], starts[e3]
                x0 = (starts[e0 + 1] - b0) * (x0 >> PRECISION) + s0 - b0
                x1 = (starts[e1 + 1] - b1) * (x1 >> PRECISION) + s1 - b1
                x2 = (starts[e2 + 1] - b2) * (x2 >> PRECISION) + s2 - b2
                x3 = (starts[e3 + 1] - b3) * (x3 >> PRECISION) + s3 - b3
                if x0 < LOWEST:
                    at -= 1
                    x0 = (x0 << 16) | words[at]
                if x1 < LOWEST:
                    at -= 1
                    x1 = (x1 << 16) | words[at]
                if x2 < LOWEST:
                    at -= 1
                    x2 = (x2 << 16) | words[at]
                if x3 < LOWEST:
                    at -= 1
                    x3 = (x3 << 16) | words[at]
                symbols[index], symbols[i1], symbols[i2], symbols[i3] = a0, a1, a2, a3
                index += 4
                continue
        x, table = x0, numbers[index]
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
