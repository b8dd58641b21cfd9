"""Quantising whole tensors by one step to tokens, and back: channel by channel, each with a mean of its own."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import SymbolDecoder, Symbols
from lamofcbench.codecs.integers import Tokens
from lamofcbench.codecs.rans.compiling import compiled

Values = NDArray[np.float32]

_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class Quantiser:
    """Rounds what is left of values behind their channel's mean to multiples of a step.

    Attributes:
        step: in the unit of the values.
        means: of the channels, float64 ``[C]``.
        order: in which channels are coded, int64 ``[C]``.
    """

    step: float
    means: NDArray[np.float64]
    order: NDArray[np.int64]

    @classmethod
    def plain(cls, step: float) -> Quantiser:
        """For values that are one channel of mean zero."""
        return cls(step, np.zeros(1), np.zeros(1, np.int64))

    def tokens(self, values: Values) -> Tokens:
        """The tokens of ``[C, rows]``, in the order in which channels are coded."""
        if not compiled():
            scaled = (values - self.means[:, None])[self.order]
            scaled /= self.step
            return integers.tokenise(np.rint(scaled, out=scaled), values[self.order])
        symbols = np.empty(values.shape, np.int32)
        if not _kernels().tokens(symbols, values, self.order, self.means, self.step):
            return Tokens(symbols, [])
        channels, rows = np.nonzero(np.abs(symbols - np.int32(integers.ZERO)) >= integers.EXACT)
        channels = self.order[channels]
        large = values[channels, rows]
        return integers.with_large(symbols, np.rint((large - self.means[channels]) / self.step), large)

    def values(self, symbols: Symbols, decoder: SymbolDecoder) -> Values:
        """Values from tokens and the plain bits that the decoder stands at, float32 ``[C, rows]``.

        Args:
            symbols: in the order in which channels are coded, ``[C, rows]``.
            decoder: standing behind the tokens.
        """
        scaled = integers.TOKEN_BASE * self.step
        restored = np.empty(symbols.shape, np.float32)
        if compiled():
            any_large = bool(_kernels().values(restored, symbols, self.order, self.means, scaled))
        else:
            restored[self.order] = _as_float32(scaled[symbols] + self.means[self.order, None])
            any_large = True
        if any_large:
            large = integers.take_large(symbols, self.step, decoder)
            channels, rows = np.divmod(large.at, max(symbols.shape[1], 1))
            channels = self.order[channels]
            restored[channels, rows] = _as_float32(large.values + self.means[channels])
            channels, rows = np.divmod(large.raw, max(symbols.shape[1], 1))
            restored[self.order[channels], rows] = large.originals
        return restored


def _as_float32(values: NDArray[np.float64]) -> Values:
    """What lies beyond the range becomes the largest value, never infinity."""
    return np.clip(values, -_LARGEST, _LARGEST, out=values).astype(np.float32)


@functools.cache
def _kernels() -> ModuleType:
    from lamofcbench.codecs import quantising_kernels  # compiled at its import

    return quantising_kernels
