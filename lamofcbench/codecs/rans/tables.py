"""Tables as the coder needs them: 14 bits of precision, an escape for what is rarer, and looked up fast.

Frequencies come in parts of ``2**24``, of which most of an alphabet of 800 tokens may well have one part each. At 14
bits these would take a twentieth of all probability. So a symbol of less than half of the smallest probability, one in
``2**15``, is coded as an escape and, behind it, in a second table over all such symbols alone, in proportion to what
they have. Everything is integer arithmetic; `docs/bitstream.md` says it step by step.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.rans.compiling import argument
from lamofcbench.codecs.rans.layout import BUCKET_BITS, FREQUENCY_BITS, PRECISION, RECIPROCAL_BITS

Integers = NDArray[np.int64]

TOTAL = 2**PRECISION
SHIFT = 24 - PRECISION
"""Frequencies come with so many bits more than the coder's precision."""
ESCAPE = -1
"""Stands for the escape in an alphabet, and for no second table."""


def falling(frequencies: Integers) -> Integers:
    """The symbols by falling frequency, the smaller first where two have the same."""
    return np.argsort(-frequencies, kind="stable")


def levelled(frequencies: Integers, surplus: int) -> Integers:
    """Frequencies in falling order, less what they have too much in all: taken from the front on, down to 1 each."""
    if surplus <= 0:
        frequencies[0] -= surplus
        return frequencies
    room = frequencies - 1
    taken = np.clip(surplus - (np.cumsum(room) - room), 0, room)
    return frequencies - taken


def first_table(frequencies: Integers) -> tuple[Integers, Integers]:
    """The symbols that have an entry of their own, by falling frequency, and their frequencies at 14 bits.

    Args:
        frequencies: of all symbols, at least 1, summing to ``2**24``; at most ``2**14`` of them.

    Returns:
        Where a symbol has no entry, `ESCAPE` is the last, which its frequency follows.
    """
    half = 1 << (SHIFT - 1)
    order = falling(frequencies)
    kept = order[: int((frequencies >= half).sum())]
    entries = (frequencies[kept] + half) >> SHIFT
    if len(kept) == len(order):
        return kept, levelled(entries, int(entries.sum()) - TOTAL)
    escape = max((int(frequencies[order[len(kept) :]].sum()) + half) >> SHIFT, 1)
    entries = levelled(entries, int(entries.sum()) + escape - TOTAL)
    return np.append(kept, ESCAPE), np.append(entries, escape)


def second_table(frequencies: Integers) -> tuple[Integers, Integers]:
    """The symbols behind the escape, by falling frequency, and their frequencies at 14 bits; none if all are kept."""
    order = falling(frequencies)
    rare = order[int((frequencies >= 1 << (SHIFT - 1)).sum()) :]
    if not rare.size:
        return rare, rare
    mass = int(frequencies[rare].sum())
    entries = np.maximum((2 * TOTAL * frequencies[rare] + mass) // (2 * mass), 1)
    return rare, levelled(entries, int(entries.sum()) - TOTAL)


class CoderTables:
    """Tables stacked together, in the arrays that `kernels` reads. Second tables follow behind all first ones.

    Args:
        frequencies: of each table, checked: 2 to ``2**14`` integers of at least 1 that sum to ``2**24``.

    Attributes:
        count: how many tables, not counting second ones.
        steps: how many words one symbol may take at most.
    """

    def __init__(self, frequencies: Sequence[NDArray[np.int32]]) -> None:
        wide = [row.astype(np.int64) for row in frequencies]
        self.count = len(wide)
        layouts, alphabets = [first_table(row) for row in wide], [len(row) for row in wide]
        children = np.full(self.count, ESCAPE, np.int64)
        for number, row in enumerate(wide):
            rare = second_table(row)
            if rare[0].size:
                children[number] = len(layouts)
                layouts.append(rare)
                alphabets.append(len(row))
        self.steps = 2 if len(layouts) > self.count else 1
        self._make_encoder(layouts, alphabets, children)
        self._make_decoder(layouts, children)

    def _make_encoder(self, layouts: list[tuple[Integers, Integers]], alphabets: list[int], children: Integers) -> None:
        offsets = np.cumsum([0, *alphabets])
        codes, escapes = np.zeros(offsets[-1], np.int64), np.zeros(len(layouts), np.int64)
        for number, (symbols, entries) in enumerate(layouts):
            packed = (np.cumsum(entries) - entries) << FREQUENCY_BITS | entries
            if symbols[-1] == ESCAPE:
                symbols, packed, escapes[number] = symbols[:-1], packed[:-1], packed[-1]
            codes[offsets[number] + symbols] = packed
        self._codes, self._offsets = codes.astype(np.int32), offsets[:-1]
        arrays = (self._codes, offsets[:-1].astype(np.uint64), np.array(alphabets, np.uint64), children, escapes)
        self.for_encoder = (*(argument(array) for array in arrays), _reciprocals())

    def bits(self, symbols: NDArray[np.int32], numbers: NDArray[np.int16]) -> float:
        """About what symbols of first tables cost, each with the number of its table."""
        frequencies = self._codes[self._offsets[numbers] + symbols] & ((1 << FREQUENCY_BITS) - 1)
        return float((PRECISION - np.log2(np.maximum(frequencies, 2.0**-PRECISION))).sum())

    def _make_decoder(self, layouts: list[tuple[Integers, Integers]], children: Integers) -> None:
        starts, alphabets, buckets, offsets = [], [], [], [0]
        first_slots = np.arange(0, TOTAL, 1 << BUCKET_BITS)
        for symbols, entries in layouts:
            ends = np.cumsum(entries)
            starts += [np.array([0]), ends]
            alphabets += [symbols, np.array([ESCAPE])]  # no slot reaches the entry behind the last
            buckets.append(np.searchsorted(ends, first_slots, side="right"))
            offsets.append(offsets[-1] + len(symbols) + 1)
        padded = np.full(len(layouts), ESCAPE, np.int64)
        padded[: self.count] = children
        arrays = (
            np.concatenate(buckets).astype(np.uint16),
            np.concatenate(starts).astype(np.int32),
            np.concatenate(alphabets).astype(np.int32),
            np.array(offsets[:-1], np.int64),
            padded,
        )
        self.for_decoder = tuple(argument(array) for array in arrays)


@functools.cache
def _reciprocals() -> Any:
    """``ceil(2**RECIPROCAL_BITS / f)`` of all frequencies ``f`` up to `TOTAL`; 0 of 0, which none has."""
    frequencies = np.arange(1, TOTAL + 1, dtype=np.int64)
    return argument(np.append(np.int64(0), -(-(1 << RECIPROCAL_BITS) // frequencies)))
