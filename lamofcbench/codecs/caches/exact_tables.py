"""Calibrated tables for the upper bytes of exact tokens, which hold the sign and all or most of the exponent.

Lower bytes are nearly random, and follow as plain bits. A tensor has a table for each word of 16 bits that its elements
take: one of half precision; two of float32, the first of which holds mantissa alone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.caches.tables import PRIOR_STRENGTH, smoothed, with_prior
from lamofcbench.codecs.entropy import (
    COST_UNITS,
    FrequencyTable,
    SymbolDecoder,
    SymbolEncoder,
    TableStack,
    frequencies_from_weights,
)
from lamofcbench.codecs.transform.rows import RowGroup
from lamofcbench.errors import CodecError

Words = NDArray[np.uint16]

_BYTES = 256
_PLAIN_BITS = 8


class TokenPart(NamedTuple):
    """How many elements of a tensor one token has, and how many words each of them takes."""

    width: int
    words: int


Token = tuple[TokenPart, ...]


def token_of(group: RowGroup) -> Token:
    """The part of each tensor, of a group whose rows are tokens."""
    widths = [columns.stop - columns.start for columns in group.columns.values()]
    return tuple(TokenPart(width, spec.bits // 16) for width, spec in zip(widths, group.specs, strict=True))


@dataclass(frozen=True)
class ExactTables:
    """The tables of a group of tensors, for words in the order of `lamofcbench.codecs.caches.exact.words_of`.

    Attributes:
        token: the part of each tensor; none where no token stays as it is.
        tables: of each tensor, for the first word of its elements, and for the second.
    """

    token: Token
    tables: tuple[FrequencyTable, ...]

    def put(self, encoder: SymbolEncoder, words: Words, tokens: int) -> None:
        """Appends the words of so many tokens."""
        encoder.put_indexed((words >> 8).astype(np.int32), _numbers(self.token, tokens), self._stack)
        encoder.put_bits((words & 0xFF).astype(np.int32), _PLAIN_BITS)

    def take(self, decoder: SymbolDecoder, tokens: int) -> Words:
        """The words that `put` appended."""
        uppers = decoder.take_indexed(_numbers(self.token, tokens), self._stack)
        return (uppers << 8 | decoder.take_bits(len(uppers), _PLAIN_BITS)).astype(np.uint16)

    def least_cost(self, tokens: int) -> int:
        """What so many tokens cost at the least, for `lamofcbench.codecs.entropy.least_bytes`."""
        return tokens * self._least_cost_of_a_token

    @functools.cached_property
    def _least_cost_of_a_token(self) -> int:
        numbers = _numbers(self.token, 1).tolist()
        return sum(self.tables[number].least_cost + _PLAIN_BITS * COST_UNITS for number in numbers)

    @functools.cached_property
    def _stack(self) -> TableStack:
        return TableStack(self.tables)

    @classmethod
    def from_state(cls, token: Token, index: int, state: Mapping[str, Tensor]) -> ExactTables:
        """The tables of a codec's state, of group number ``index``.

        Raises:
            CodecError: if they are missing or do not fit the tensors.
        """
        if not token:
            return cls(token, ())
        frequencies = state.get(f"{index}.exact")
        if frequencies is None or frequencies.shape != (_table_count(token), _BYTES):
            raise CodecError(f"the state of group {index} has not a table for each word of its exact tokens")
        return cls(token, tuple(FrequencyTable(row) for row in frequencies.to(torch.int32).numpy()))


def learned_exact_tables(token: Token, index: int, samples: Iterable[Words]) -> dict[str, Tensor]:
    """Frequencies for a codec's state, counted on the exact tokens of calibration samples."""
    if not token:
        return {}
    counts = np.zeros(_table_count(token) * _BYTES, np.int64)
    for words in samples:
        numbers = _numbers(token, len(words) // sum(part.width * part.words for part in token))
        counts += np.bincount(numbers.astype(np.int64) * _BYTES + (words >> 8), minlength=len(counts))
    weights = [with_prior(row, smoothed(row), PRIOR_STRENGTH) for row in counts.reshape(-1, _BYTES)]
    return {f"{index}.exact": torch.from_numpy(np.stack([frequencies_from_weights(row) for row in weights]))}


def _table_count(token: Token) -> int:
    return sum(part.words for part in token)


def _numbers(token: Token, tokens: int) -> NDArray[np.int16]:
    """The table of each word of so many tokens."""
    starts = np.cumsum([0, *(part.words for part in token)]).tolist()
    return np.concatenate(
        [
            np.zeros(0, np.int16),
            *(
                np.tile(np.arange(start, start + part.words, dtype=np.int16), tokens * part.width)
                for start, part in zip(starts, token, strict=False)
            ),
        ]
    )
