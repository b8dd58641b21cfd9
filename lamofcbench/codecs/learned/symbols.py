"""Entropy coding of latent integers with the integer tables of a network."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.entropy import PRECISION_BITS, FrequencyTable, SymbolDecoder, SymbolEncoder, Symbols
from lamofcbench.codecs.learned.entropy_models import TABLE_BITS, EntropyModel
from lamofcbench.errors import BitstreamError, CodecError

LARGEST_SYMBOL = 2**22
"""Latents are clipped to this; anything near it is a network that has run away."""
BLOCK_SYMBOLS = 2**20
"""So many symbols are sorted by their table at a time, which bounds memory."""
CHECKSUM_BYTES = 4
_WIDTH_BITS = 5
_LARGEST_WIDTH = 24


class Tables:
    """The tables of an entropy model, each an integer frequency table with an escape for what it does not cover.

    Raises:
        CodecError: if the tables, which may come from a stranger's saved folder, are none.
    """

    def __init__(self, model: EntropyModel) -> None:
        cdf, offsets, lengths = (_integers(t) for t in (model._quantized_cdf, model._offset, model._cdf_length))
        if cdf.ndim != 2 or offsets.shape != cdf.shape[:1] or lengths.shape != cdf.shape[:1] or not len(cdf):
            raise CodecError("the network's entropy tables are missing or contradict each other")
        if (lengths < 3).any() or (lengths > cdf.shape[1]).any() or (np.abs(offsets) > LARGEST_SYMBOL // 4).any():
            raise CodecError("the network's entropy tables contradict each other")
        self.offsets = offsets
        self.sizes = lengths - 2  # integers that a table covers
        scale = 2 ** (PRECISION_BITS - TABLE_BITS)
        rows = [np.diff(row[:length]) for row, length in zip(cdf, lengths, strict=True)]
        self.tables = [FrequencyTable((row * scale).astype(np.int32)) for row in rows]

    def __len__(self) -> int:
        return len(self.tables)

    def put(self, encoder: SymbolEncoder, symbols: Symbols, indices: NDArray[np.integer]) -> None:
        """Appends symbols, each with the table of its index: block by block, in each table by table."""
        for start in range(0, len(symbols), BLOCK_SYMBOLS):
            end = start + BLOCK_SYMBOLS
            self._put_block(encoder, symbols[start:end], indices[start:end])

    def _put_block(self, encoder: SymbolEncoder, symbols: Symbols, indices: NDArray[np.integer]) -> None:
        order = np.argsort(indices, kind="stable")
        counts = np.bincount(indices, minlength=len(self))
        used = np.flatnonzero(counts)
        shifted = symbols[order] - np.repeat(self.offsets, counts)
        sizes = np.repeat(self.sizes, counts)
        escaped = np.flatnonzero((shifted < 0) | (shifted >= sizes))
        overflow = shifted[escaped]
        beyond = sizes[escaped]
        shifted[escaped] = beyond
        ends = np.cumsum(counts)
        for table in used:
            encoder.put(shifted[ends[table] - counts[table] : ends[table]].astype(np.int32), self.tables[table])
        _put_overflow(encoder, np.where(overflow < 0, -2 * overflow - 1, 2 * (overflow - beyond)))

    def take(self, decoder: SymbolDecoder, indices: NDArray[np.integer]) -> Symbols:
        """The next symbols, one for each index, int32."""
        starts = range(0, len(indices), BLOCK_SYMBOLS)
        blocks = [self._take_block(decoder, indices[start : start + BLOCK_SYMBOLS]) for start in starts]
        return np.concatenate(blocks) if blocks else np.empty(0, np.int32)

    def _take_block(self, decoder: SymbolDecoder, indices: NDArray[np.integer]) -> Symbols:
        order = np.argsort(indices, kind="stable")
        counts = np.bincount(indices, minlength=len(self))
        parts = [decoder.take(int(counts[t]), self.tables[t]) for t in np.flatnonzero(counts)]
        shifted = np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)
        sizes = np.repeat(self.sizes, counts)
        escaped = np.flatnonzero(shifted >= sizes)
        overflow = _take_overflow(decoder, len(escaped))
        shifted[escaped] = np.where(overflow & 1, -((overflow + 1) >> 1), sizes[escaped] + (overflow >> 1))
        symbols = np.empty(len(order), np.int32)
        symbols[order] = np.clip(shifted + np.repeat(self.offsets, counts), -LARGEST_SYMBOL, LARGEST_SYMBOL)
        return symbols


def _integers(tensor: Tensor) -> NDArray[np.int64]:
    values: NDArray[np.int64] = tensor.detach().cpu().long().numpy()
    return values


def _bit_lengths(values: NDArray[np.int64]) -> Symbols:
    return np.frexp(values.astype(np.float64))[1].astype(np.int32)


def _put_overflow(encoder: SymbolEncoder, values: NDArray[np.int64]) -> None:
    """What escaped: bit lengths, then the bits, the short ones first."""
    widths = _bit_lengths(values)
    encoder.put_bits(widths, _WIDTH_BITS)
    for width in np.unique(widths):
        encoder.put_bits(values[widths == width].astype(np.int32), int(width))


def _take_overflow(decoder: SymbolDecoder, count: int) -> NDArray[np.int64]:
    widths = decoder.take_bits(count, _WIDTH_BITS)
    if (widths > _LARGEST_WIDTH).any():
        raise BitstreamError("coded latents hold an escape that no encoder writes")
    values = np.zeros(count, np.int64)
    for width in np.unique(widths):
        values[widths == width] = decoder.take_bits(int((widths == width).sum()), int(width))
    return values


class Checksum:
    """A running checksum of symbols, over their values and order."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, symbols: Symbols) -> None:
        """Takes more symbols in."""
        self.value = zlib.crc32(np.ascontiguousarray(symbols, "<i4").data, self.value)


class LatentWriter:
    """The encoder's end of a latent stream. Both ends have one method, so that one routine serves both sides.

    Args:
        least: the size of the coded symbols at the least, see `lamofcbench.codecs.entropy`.
    """

    def __init__(self, least: int = 0) -> None:
        self._encoder, self._checksum = SymbolEncoder(least), Checksum()
        self._hyper_checksum = 0

    def code(self, tables: Tables, indices: NDArray[np.integer], symbols: Symbols | None) -> Symbols:
        """Appends symbols, each with the table of its index, and returns them."""
        assert symbols is not None
        tables.put(self._encoder, symbols, indices)
        self._checksum.add(symbols)
        return symbols

    def end_hyper_latents(self) -> None:
        """What comes from here on depends on the network's arithmetic, and has the longer checksum."""
        self._hyper_checksum, self._checksum = self._checksum.value, Checksum()

    def finish(self) -> bytes:
        """One byte of the hyper-latents' checksum, three of the latents', and the coded symbols."""
        check = (self._hyper_checksum & 0xFF) | (self._checksum.value & 0xFFFFFF) << 8
        return check.to_bytes(CHECKSUM_BYTES, "little") + self._encoder.finish()


class LatentReader:
    """The decoder's end of a latent stream.

    Args:
        payload: what the encoder's end finished with.
        least: as the encoder was given it.

    Raises:
        BitstreamError: from any method, for bytes that no encoder wrote, or that another arithmetic wrote.
    """

    def __init__(self, payload: bytes, least: int = 0) -> None:
        if len(payload) < CHECKSUM_BYTES:
            raise BitstreamError("coded latents end within their checksum")
        self._expected = int.from_bytes(payload[:CHECKSUM_BYTES], "little")
        self._decoder, self._checksum = SymbolDecoder(payload[CHECKSUM_BYTES:], least), Checksum()

    def code(self, tables: Tables, indices: NDArray[np.integer], symbols: Symbols | None) -> Symbols:
        """The next symbols, one for each index."""
        assert symbols is None
        symbols = tables.take(self._decoder, indices)
        self._checksum.add(symbols)
        return symbols

    def end_hyper_latents(self) -> None:
        """Checks the hyper-latents, before anything expensive is done with them."""
        if (self._checksum.value ^ self._expected) & 0xFF:
            raise BitstreamError("coded hyper-latents do not match their checksum; the bytes are damaged or crafted")
        self._checksum = Checksum()

    def finish(self) -> None:
        """Checks the latents."""
        if (self._checksum.value ^ self._expected >> 8) & 0xFFFFFF:
            raise BitstreamError(
                "decoded latents do not match their checksum: the bytes are damaged, or encoder and decoder computed "
                "other scales; decode with the codec folder and the version that encoded them"
            )
        self._decoder.finish()
