"""Rounding: coefficients become tokens of the tables of their classes, and are restored to centroids.

Integers are small, as a rule: one pass over memory does all of these. What is not, and everything where nothing is
compiled, numpy does. Tokens and values are the same.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import SymbolDecoder, SymbolEncoder, Symbols, TableStack
from lamofcbench.codecs.rans.compiling import compiled
from lamofcbench.codecs.transform.classes import quantised, restored
from lamofcbench.codecs.transform.levels import HALVINGS
from lamofcbench.errors import CodecError

Values = NDArray[np.float32]
Numbers = NDArray[np.int16]
_NONE = np.empty((0, 0), np.float32)
_LARGEST = float(np.finfo(np.float32).max)
_TOO_LARGE = (
    "what the transform makes of these features is too large to be coded in steps; raise the codec's step, or fit it "
    "on features like these"
)


@dataclass(frozen=True)
class RowTables:
    """Which table each value of rows has.

    Attributes:
        tables: by profile, int16 ``[P, K]``.
        profiles: of the rows, ``[rows]``.
        raised: by how many the tables of each row are, int16 ``[rows]``; what is negative then is not coded.
        last: the number of the last table of all, which values beyond have, too.
    """

    tables: Numbers
    profiles: NDArray[np.intp]
    raised: Numbers
    last: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and K."""
        return len(self.profiles), self.tables.shape[1]

    @property
    def numbers(self) -> Numbers:
        """The table of each value, ``[rows, K]``."""
        return np.minimum(self.tables[self.profiles] + self.raised[:, None], np.int16(self.last))

    @property
    def arguments(self) -> tuple[Any, ...]:
        """As kernels take them."""
        return np.ascontiguousarray(self.tables), self.profiles.astype(np.int64), self.raised, self.last


def require_range(step: float, values: Values) -> None:
    """Refuses values that the finest steps of a row cannot count, before levels are looked up for them.

    Raises:
        CodecError: if one is NaN, or its magnitude is no finite number of the finest steps.
    """
    if values.size:
        low, high = torch.aminmax(torch.from_numpy(values))  # one pass, and NaN is either
        if not max(-low.item(), high.item()) / step * 2.0 ** (HALVINGS - 1) <= _LARGEST:
            raise CodecError(_TOO_LARGE)


def _in_steps(values: Values, less: Values | None, steps: Values) -> Values:
    """Values, less what is subtracted from them, in steps; all ``[N]``.

    Raises:
        CodecError: if one is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: Values = (values if less is None else values - less) / steps
    if not np.isfinite(scaled).all():
        raise CodecError(_TOO_LARGE)
    return scaled


def put_rows(
    encoder: SymbolEncoder,
    values: Values,
    placed: RowTables,
    steps: Values,
    shifts: Values,
    tables: TableStack,
    *,
    less: Values | None = None,
    wanted: bool = True,
) -> Values | None:
    """Appends values, each by its table, and returns what they are restored to; zero where they are not coded.

    Args:
        encoder: takes the tokens.
        values: ``[rows, K]``.
        placed: their tables.
        steps: of the rows, ``[rows, 1]``.
        shifts: of centroids, ``[tables, MAGNITUDES]``.
        tables: that numbers refer to.
        less: what is subtracted from values first, ``[rows, K]``.
        wanted: whether what they are restored to is; else None is returned.

    Raises:
        CodecError: if a value is no finite number of its steps.
    """
    if compiled():
        return _put_compiled(encoder, values, placed, steps, shifts, tables, less, wanted)
    numbers = placed.numbers
    coded = numbers >= 0
    of_each, by_value = numbers[coded], np.broadcast_to(steps, coded.shape)[coded]
    scaled = _in_steps(values[coded], None if less is None else less[coded], by_value)
    whole = quantised(scaled)
    tokens = integers.tokenise(whole.astype(np.float64), scaled)
    encoder.put_indexed(tokens.symbols, of_each, tables)
    tokens.put_extras(encoder)
    return _restored(whole, of_each, coded, steps, shifts) if wanted else None


def _put_compiled(
    encoder: SymbolEncoder,
    values: Values,
    placed: RowTables,
    steps: Values,
    shifts: Values,
    tables: TableStack,
    less: Values | None,
    wanted: bool,
) -> Values | None:
    symbols, of_each = np.empty(values.size, np.int32), np.empty(values.size, np.int16)
    large, by_row = np.empty(values.size + 1, np.int64), np.ascontiguousarray(steps.reshape(-1))
    arrays = map(np.ascontiguousarray, (values, _NONE if less is None else less))
    count = _kernels().round_rows(symbols, of_each, large, *arrays, *placed.arguments, by_row)
    found = np.empty(values.shape if wanted else (0, 0), np.float32)
    if wanted:
        _kernels().restore_rows(found, symbols, *placed.arguments, by_row, shifts)
    symbols, at = symbols[:count], large[1 : 1 + large[0]]
    extras: list[tuple[int, Symbols]] = []
    if at.size:
        of_value = by_row[at // values.shape[1]]
        scaled = _in_steps(values.reshape(-1)[at], None if less is None else less.reshape(-1)[at], of_value)
        whole = quantised(scaled)
        if wanted:
            found.reshape(-1)[at] = restored(whole, placed.numbers.reshape(-1)[at], shifts) * of_value
        tokens = integers.with_large(symbols, whole.astype(np.float64), scaled)
        symbols, extras = tokens.symbols, tokens.extras
    encoder.put_indexed(symbols, of_each[:count], tables)
    integers.Tokens(symbols, extras).put_extras(encoder)
    return found if wanted else None


def take_rows(decoder: SymbolDecoder, placed: RowTables, steps: Values, shifts: Values, tables: TableStack) -> Values:
    """What `put_rows` returned for the values that it appended."""
    if compiled():
        return _take_compiled(decoder, placed, steps, shifts, tables)
    numbers = placed.numbers
    coded = numbers >= 0
    of_each = numbers[coded]
    values, raw, originals = integers.detokenise(decoder.take_indexed(of_each, tables), 1.0, decoder)
    values[raw] = originals
    return _restored(values.astype(np.float32), of_each, coded, steps, shifts)


def _take_compiled(
    decoder: SymbolDecoder, placed: RowTables, steps: Values, shifts: Values, tables: TableStack
) -> Values:
    found = np.empty(placed.shape, np.float32)
    of_each = np.empty(found.size, np.int16)
    of_each = of_each[: _kernels().place_rows(of_each, *placed.arguments)]
    symbols = decoder.take_indexed(of_each, tables)
    by_row = np.ascontiguousarray(steps.reshape(-1))
    if not _kernels().restore_rows(found, symbols, *placed.arguments, by_row, shifts):
        return found
    large = integers.take_large(symbols, 1.0, decoder)
    places = np.flatnonzero(placed.numbers >= 0)
    for at, values in ((large.at, large.values.astype(np.float32)), (large.raw, large.originals)):
        rows = by_row[places[at] // found.shape[1]]
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
