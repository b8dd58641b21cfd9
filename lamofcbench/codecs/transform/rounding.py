"""Rounding: coefficients become tokens of the tables of their classes, and are restored to centroids.

Integers are small, as a rule: one pass over memory does all of these. What is not, and everything where nothing is
compiled, numpy does. Tokens and values are the same.
"""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import SymbolDecoder, SymbolEncoder, Symbols, TableStack
from lamofcbench.codecs.rans.compiling import compiled
from lamofcbench.codecs.transform.classes import quantised, restored

Values = NDArray[np.float32]
Numbers = NDArray[np.int16]


def put_rows(
    encoder: SymbolEncoder, values: Values, numbers: Numbers, steps: Values, shifts: Values, tables: TableStack
) -> Values:
    """Appends values, each by its table, and returns what they are restored to; zero where they are not coded.

    Args:
        encoder: takes the tokens.
        values: ``[rows, K]``.
        numbers: of their tables, ``[rows, K]``; negative where they are not coded.
        steps: of the rows, ``[rows, 1]``.
        shifts: of centroids, ``[tables, MAGNITUDES]``.
        tables: that numbers refer to.
    """
    if compiled():
        return _put_compiled(encoder, values, numbers, steps, shifts, tables)
    coded = numbers >= 0
    of_each, scaled = numbers[coded], (values / steps)[coded]
    whole = quantised(scaled)
    tokens = integers.tokenise(whole.astype(np.float64), scaled)
    encoder.put_indexed(tokens.symbols, of_each, tables)
    tokens.put_extras(encoder)
    return _restored(whole, of_each, coded, steps, shifts)


def _put_compiled(
    encoder: SymbolEncoder, values: Values, numbers: Numbers, steps: Values, shifts: Values, tables: TableStack
) -> Values:
    symbols, of_each = np.empty(values.size, np.int32), np.empty(values.size, np.int16)
    large, found = np.empty(values.size + 1, np.int64), np.empty(values.shape, np.float32)
    arrays = (np.ascontiguousarray(array) for array in (values, numbers, steps.reshape(-1), shifts))
    count = _kernels().round_rows(symbols, of_each, large, found, *arrays)
    symbols, at = symbols[:count], large[1 : 1 + large[0]]
    extras: list[tuple[int, Symbols]] = []
    if at.size:
        rows, scaled = steps.reshape(-1)[at // values.shape[1]], values.reshape(-1)[at]
        scaled = scaled / rows
        whole = quantised(scaled)
        found.reshape(-1)[at] = restored(whole, numbers.reshape(-1)[at], shifts) * rows
        tokens = integers.with_large(symbols, whole.astype(np.float64), scaled)
        symbols, extras = tokens.symbols, tokens.extras
    encoder.put_indexed(symbols, of_each[:count], tables)
    integers.Tokens(symbols, extras).put_extras(encoder)
    return found


def take_rows(decoder: SymbolDecoder, numbers: Numbers, steps: Values, shifts: Values, tables: TableStack) -> Values:
    """What `put_rows` returned for the values that it appended."""
    coded = numbers >= 0
    of_each = numbers.reshape(-1) if coded.all() else numbers[coded]
    symbols = decoder.take_indexed(of_each, tables)
    if compiled():
        return _take_compiled(decoder, symbols, of_each, numbers, steps, shifts)
    values, raw, originals = integers.detokenise(symbols, 1.0, decoder)
    values[raw] = originals
    return _restored(values.astype(np.float32), of_each, coded, steps, shifts)


def _take_compiled(
    decoder: SymbolDecoder, symbols: Symbols, of_each: Numbers, numbers: Numbers, steps: Values, shifts: Values
) -> Values:
    found = np.empty(numbers.shape, np.float32)
    arrays = (np.ascontiguousarray(array) for array in (numbers, steps.reshape(-1), shifts))
    if not _kernels().restore_rows(found, symbols, *arrays):
        return found
    large = integers.take_large(symbols, 1.0, decoder)
    places = np.flatnonzero(numbers >= 0)
    for at, values in ((large.at, large.values.astype(np.float32)), (large.raw, large.originals)):
        rows = steps.reshape(-1)[places[at] // numbers.shape[1]]
        found.reshape(-1)[places[at]] = restored(values, of_each[at], shifts) * rows
    return found


def _restored(whole: Values, of_each: Numbers, coded: NDArray[np.bool_], steps: Values, shifts: Values) -> Values:
    """Values of the integers at the places that are coded, in the shape of these."""
    result = np.zeros(coded.shape, np.float32)
    result[coded] = restored(whole, of_each, shifts)
    result *= steps
    return result


@functools.cache
def _kernels() -> ModuleType:
    from lamofcbench.codecs.transform import rounding_kernels  # compiled at its import

    return rounding_kernels
