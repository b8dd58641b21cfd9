"""Tokens for quantised values: small integers as they are, larger ones as a class and a few plain bits.

Quantised features are mostly near zero but reach a thousand times their quartiles. One alphabet serves them all:

- magnitudes below `EXACT` have a token each, a sign included;
- larger ones share `2**MANTISSA_BITS` tokens an octave, and the bits below follow uncoded: within a sixteenth of an
  octave the distribution is flat enough for that;
- from ``2**MAX_BITS`` on, one token says that the value follows as it is, in 32 bits.

So every finite float can be coded at any step, its cost grows with its logarithm, and a table has `ALPHABET` entries
whatever the step. The scheme is that of hybrid integer coding in JPEG XL (ISO/IEC 18181-1, annex C).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, Symbols, frequencies_from_weights
from lamofcbench.errors import BitstreamError, CodecError

EXACT_BITS = 7
EXACT = 2**EXACT_BITS
MANTISSA_BITS = 4
MAX_BITS = 24
_OCTAVE = 2**MANTISSA_BITS
_CLASSES = EXACT + (MAX_BITS - EXACT_BITS) * _OCTAVE
ZERO = _CLASSES - 1
"""The token of zero; tokens of negative integers lie below it, of positive ones above."""
RAW = 2 * _CLASSES - 1
ALPHABET = RAW + 1


def _magnitude_classes() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The smallest magnitude of each class, and how many plain bits follow its token."""
    octaves, mantissas = np.divmod(np.arange(_CLASSES - EXACT), _OCTAVE)
    widths = octaves + (EXACT_BITS - MANTISSA_BITS)
    lows = (_OCTAVE + mantissas) << widths
    return np.concatenate([np.arange(EXACT), lows]), np.concatenate([np.zeros(EXACT, np.int64), widths])


_LOWS, _WIDTHS = _magnitude_classes()
TOKEN_BASE = np.concatenate([-_LOWS[:0:-1], _LOWS, [0]]).astype(np.float64)
"""The integer of each token with all plain bits zero, ``[ALPHABET]``."""
TOKEN_WIDTH = np.concatenate([_WIDTHS[:0:-1], _WIDTHS, [0]]).astype(np.int32)
"""How many plain bits follow each token, ``[ALPHABET]``."""


@dataclass(frozen=True)
class Tokens:
    """Quantised values, ready to be coded.

    Attributes:
        symbols: the tokens, int32, in the shape of the values.
        extras: ``(width, values)``: the plain bits, by ascending width, each in the order of the symbols.
    """

    symbols: Symbols
    extras: list[tuple[int, Symbols]]

    def put_extras(self, encoder: SymbolEncoder) -> None:
        """Appends the plain bits; the tokens go before them, in the caller's order."""
        for width, values in self.extras:
            encoder.put_bits(values, width)


def tokenise(integers: NDArray[np.float64], originals: NDArray[np.float32]) -> Tokens:
    """The tokens of integers held as floats.

    Args:
        integers: any shape; may be as large as floats get.
        originals: the values that were quantised, which stand in for integers of more than `MAX_BITS` bits.
    """
    if not integers.size:
        return Tokens(np.empty(integers.shape, np.int32), [])
    if integers.min() > -EXACT and integers.max() < EXACT:
        symbols = integers.astype(np.int32)
        symbols += ZERO
        return Tokens(symbols, [])
    symbols = np.clip(integers, -EXACT, EXACT).astype(np.int32) + np.int32(ZERO)
    large = np.abs(integers) >= EXACT
    return with_large(symbols, integers[large], originals.reshape(integers.shape)[large])


def with_large(symbols: Symbols, large: NDArray[np.float64], originals: NDArray[np.float32]) -> Tokens:
    """The tokens of integers of which the large ones are still to be taken care of.

    Args:
        symbols: tokens of all integers, with those from `EXACT` on cut off there; written to.
        large: these integers, in the order of the symbols.
        originals: the values that these were quantised from.
    """
    flat = symbols.reshape(-1)
    at = np.flatnonzero(np.abs(flat - np.int32(ZERO)) >= EXACT)
    raw = np.abs(large) >= 2.0**MAX_BITS
    flat[at[raw]] = RAW
    at, signed = at[~raw], large[~raw]
    magnitudes = np.abs(signed).astype(np.int32)
    widths = np.frexp(magnitudes)[1] - np.int32(1 + MANTISSA_BITS)
    mantissas = (magnitudes >> widths) - _OCTAVE
    classes = EXACT + (widths - (EXACT_BITS - MANTISSA_BITS)) * _OCTAVE + mantissas
    flat[at] = ZERO + np.where(signed < 0, -classes, classes)

    plain = magnitudes & ((np.int32(1) << widths) - 1)
    extras = [(int(width), plain[widths == width]) for width in np.unique(widths)]
    if raw.any():
        words = originals[raw].astype(np.float32).view(np.uint32)
        extras.append((16, (words & 0xFFFF).astype(np.int32)))
        extras.append((16, (words >> 16).astype(np.int32)))
    return Tokens(flat.reshape(symbols.shape), extras)


def detokenise(
    symbols: Symbols, scale: float, decoder: SymbolDecoder
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float32]]:
    """Values from tokens and the plain bits that the decoder stands at.

    Args:
        symbols: the tokens, in the order in which `tokenise` saw the values.
        scale: what each integer is multiplied by.
        decoder: standing behind the tokens.

    Returns:
        The scaled integers, in the shape of the symbols; and flat positions and values of those sent as they are.
    """
    values = (TOKEN_BASE * scale)[symbols]
    none = np.empty(0, np.intp), np.empty(0, np.float32)
    if not symbols.size or (symbols.min() > ZERO - EXACT and symbols.max() < ZERO + EXACT):
        return values, *none
    large = take_large(symbols, scale, decoder)
    values.reshape(-1)[large.at] = large.values
    return values, large.raw, large.originals


@dataclass(frozen=True)
class Large:
    """Values of integers that are not small.

    Attributes:
        at: flat positions of those that have a token and plain bits.
        values: their integers, scaled, float64.
        raw: flat positions of those that were sent as they are.
        originals: these values.
    """

    at: NDArray[np.intp]
    values: NDArray[np.float64]
    raw: NDArray[np.intp]
    originals: NDArray[np.float32]


def take_large(symbols: Symbols, scale: float, decoder: SymbolDecoder) -> Large:
    """Takes the plain bits behind the tokens of a tensor; the arguments are those of `detokenise`.

    Raises:
        BitstreamError: if a value that was sent as it is, is not finite.
    """
    flat = symbols.reshape(-1)
    large = np.flatnonzero(np.abs(flat - ZERO) >= EXACT)
    raw, at = large[flat[large] == RAW], large[flat[large] != RAW]
    widths, bases = TOKEN_WIDTH[flat[at]], TOKEN_BASE[flat[at]]
    values = np.empty(len(at))
    for width in np.unique(widths):
        these = widths == width
        base = bases[these]
        values[these] = (base + np.copysign(decoder.take_bits(len(base), int(width)), base)) * scale
    words = decoder.take_bits(len(raw), 16).astype(np.uint32)
    words |= decoder.take_bits(len(raw), 16).astype(np.uint32) << np.uint32(16)
    originals = words.view(np.float32)
    if not np.isfinite(originals).all():
        raise BitstreamError("a value sent as it is is not finite")
    return Large(at, values, raw, originals)


def count_tokens(symbols: Symbols) -> NDArray[np.int64]:
    """How often each token occurs, ``[ALPHABET]``."""
    return np.bincount(symbols.reshape(-1), minlength=ALPHABET)


def learned_frequencies(counts: NDArray[np.int64], spread: float, strength: float = 16.0) -> NDArray[np.int32]:
    """A frequency table from token counts, filled up with what is plausible for tokens that were not seen.

    Args:
        counts: ``[ALPHABET]`` from calibration.
        spread: the standard deviation of the integers, which sets the width of the prior.
        strength: how many observations the prior is worth.
    """
    return frequencies_from_weights(counts + strength * _prior(spread))


def _prior(spread: float) -> NDArray[np.float64]:
    """Probabilities of the tokens under a logistic distribution with a hundredth of Cauchy tails."""
    upper = np.concatenate([_LOWS[1:], [2**MAX_BITS]]) - 0.5
    edges = np.concatenate([-upper[::-1], upper])
    scale = max(spread, 1e-3)
    with np.errstate(over="ignore"):
        logistic = 1.0 / (1.0 + np.exp(-edges * (np.pi / np.sqrt(3.0) / scale)))
    cumulative = 0.99 * logistic + 0.01 * (0.5 + np.arctan(edges / scale) / np.pi)
    return np.concatenate([np.diff(cumulative), [cumulative[0] + 1.0 - cumulative[-1]]])


def table(frequencies: NDArray[np.int32]) -> FrequencyTable:
    """The entropy model of one table of tokens.

    Raises:
        CodecError: if it is not a table of tokens.
    """
    if frequencies.shape[-1:] != (ALPHABET,):
        raise CodecError(f"a token table has shape {list(frequencies.shape)}, not [{ALPHABET}]")
    return FrequencyTable(frequencies)
