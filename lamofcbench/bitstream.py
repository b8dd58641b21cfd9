"""The container of one coded feature set: everything a decoder needs beside the codec, nothing else, checked.

Byte format, version 2
----------------------
====================  ==================================================================================
bytes                 content
====================  ==================================================================================
1                     magic and version: ``C2``, four bits each
varint each           the size of each ragged axis, in the order of the specs (unsigned LEB128)
varint each           the side information, zigzag coded, in the order of the specs
sections              the payloads, end to end
section table         how long each section is; absent for fewer than two sections
4                     CRC-32 (little endian) of the codec's fingerprint followed by all bytes above
====================  ==================================================================================

The fingerprint itself is not sent: its checksum makes bitstreams of other codecs recognisable. The last section's
length follows from the others. The table is read backwards from the checksum: a bit string, whose first five bits are
the Exp-Golomb order ``k``, then the signed difference of each length from its prediction. The first length is
predicted as 0, each later one in proportion to the raw sizes, which both sides know, so that a fixed-rate codec pays
one bit a section. A codec that joins its tensors has one section and no table; lengths that really vary are
information, about a byte each where sections are small.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from lamofcbench.errors import BitstreamError

MAGIC_AND_VERSION = b"\xc2"
VERSION = MAGIC_AND_VERSION[0] & 0x0F
MAGIC_OF_VERSION_1 = b"\x1f\xc1"
CHECKSUM_BYTES = 4
FIXED_BYTES = len(MAGIC_AND_VERSION) + CHECKSUM_BYTES
MAX_VARINT_BYTES = 10


class BitstreamWriter:
    """Collects the parts of one bitstream.

    Example:
        >>> fingerprint = bytes(32)
        >>> writer = BitstreamWriter(fingerprint)
        >>> writer.unsigned(7); writer.signed(-3)
        >>> data = writer.finish([b"abc", b"de"], raw_sizes=[6, 4])
        >>> reader = BitstreamReader(data, fingerprint)
        >>> reader.unsigned("axis", limit=10), reader.signed("seed"), reader.sections([6, 4])
        (7, -3, [b'abc', b'de'])
    """

    def __init__(self, fingerprint: bytes) -> None:
        self._fingerprint = fingerprint
        self._head = bytearray(MAGIC_AND_VERSION)

    def unsigned(self, value: int) -> None:
        """Appends a non-negative integer below 2**64."""
        if not 0 <= value < 2**64:
            raise ValueError(f"{value} does not fit an unsigned 64-bit integer")
        while value >= 0x80:
            self._head.append(value & 0x7F | 0x80)
            value >>= 7
        self._head.append(value)

    def signed(self, value: int) -> None:
        """Appends an integer in the signed 64-bit range."""
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{value} does not fit a signed 64-bit integer")
        self.unsigned(_zigzag(value))

    def finish(self, sections: Sequence[bytes], raw_sizes: Sequence[int]) -> bytes:
        """The whole bitstream.

        Args:
            sections: the payloads.
            raw_sizes: the uncoded size of what each section holds, as the decoder knows it from the specs.
        """
        table = _encode_lengths([len(section) for section in sections], raw_sizes)
        body = b"".join([self._head, *sections, table])
        return body + struct.pack("<I", zlib.crc32(body, zlib.crc32(self._fingerprint)))


class BitstreamReader:
    """Reads the parts of one bitstream, after checking that it is whole and made by the same codec.

    Raises:
        BitstreamError: from any method, for bytes that are truncated, damaged, foreign or hostile.
    """

    def __init__(self, data: bytes, fingerprint: bytes) -> None:
        if len(data) < FIXED_BYTES:
            raise BitstreamError(f"{len(data)} bytes are no bitstream: the container alone takes {FIXED_BYTES}")
        if data.startswith(MAGIC_OF_VERSION_1):
            raise BitstreamError(f"bitstream format 1 is no longer read, only {VERSION}; encode the features again")
        if data[0] & 0xF0 != MAGIC_AND_VERSION[0] & 0xF0:
            raise BitstreamError("these bytes are not a LaMoFCBench bitstream")
        if data[0] != MAGIC_AND_VERSION[0]:
            raise BitstreamError(
                f"bitstream format {data[0] & 0x0F} is unknown; this version of LaMoFCBench reads format {VERSION}"
            )
        self._end = len(data) - CHECKSUM_BYTES
        (checksum,) = struct.unpack_from("<I", data, self._end)
        if checksum != zlib.crc32(memoryview(data)[: self._end], zlib.crc32(fingerprint)):
            raise BitstreamError(
                "bitstream is damaged or truncated, or of another codec: its checksum does not match; decode it with "
                "the codec folder it was made with"
            )
        self._data = data
        self._at = len(MAGIC_AND_VERSION)

    def unsigned(self, what: str, *, limit: int = 2**64 - 1) -> int:
        """The next non-negative integer, which may be at most ``limit``."""
        value = 0
        for index in range(MAX_VARINT_BYTES):
            if self._at >= self._end:
                raise BitstreamError(f"bitstream ends within {what}")
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if byte == 0 and index:
                    raise BitstreamError(f"{what} has more bytes than it takes")
                if value > limit:
                    raise BitstreamError(f"{what} is {value}; at most {limit} is possible")
                return value
        raise BitstreamError(f"{what} is longer than {MAX_VARINT_BYTES} bytes")

    def signed(self, what: str) -> int:
        """The next signed integer."""
        value = self.unsigned(what)
        return (value >> 1) ^ -(value & 1)

    def sections(self, raw_sizes: Sequence[int]) -> list[bytes]:
        """All sections, one for each raw size; nothing can be read after them."""
        rest = self._data[self._at : self._end]
        lengths = _decode_lengths(rest, raw_sizes)
        sections, at = [], 0
        for length in lengths:
            sections.append(rest[at : at + length])
            at += length
        return sections


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _predict(known_length: int, known_raw: int, raw: int) -> int:
    return (known_length * raw + known_raw // 2) // known_raw if known_raw else 0


def _encode_lengths(lengths: Sequence[int], raw_sizes: Sequence[int]) -> bytes:
    """The section table: bits reversed in byte order, so that it can be read from its end."""
    if len(lengths) < 2:
        return b""
    residuals, known_length, known_raw = [], 0, 0
    for length, raw in zip(lengths[:-1], raw_sizes[:-1], strict=True):
        residuals.append(_zigzag(length - _predict(known_length, known_raw, raw)))
        known_length, known_raw = known_length + length, known_raw + raw
    order = min(range(32), key=lambda k: sum(_exp_golomb_bits(r, k) for r in residuals))
    bits = f"{order:05b}"
    for residual in residuals:
        value = residual + (1 << order)
        bits += "0" * (value.bit_length() - order - 1) + f"{value:b}"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")[::-1]


def _exp_golomb_bits(value: int, order: int) -> int:
    return 2 * (value + (1 << order)).bit_length() - order - 1


def _decode_lengths(rest: bytes, raw_sizes: Sequence[int]) -> list[int]:
    if not raw_sizes:
        if rest:
            raise BitstreamError(f"{len(rest)} bytes follow the end of the bitstream")
        return []
    if len(raw_sizes) == 1:
        return [len(rest)]
    # A table entry takes at most 2 * 64 bits, so only this much of the end can belong to the table.
    bits = _BackwardBits(rest[-(16 * len(raw_sizes) + 1) :])
    order = bits.take(5)
    lengths: list[int] = []
    known_length = known_raw = 0
    for raw in raw_sizes[:-1]:
        zeros = bits.leading_zeros()
        residual = bits.take(zeros + order + 1) - (1 << order)
        length = _predict(known_length, known_raw, raw) + ((residual >> 1) ^ -(residual & 1))
        known_length, known_raw = known_length + length, known_raw + raw
        if length < 0 or known_length > len(rest):
            raise BitstreamError("section table is damaged: a section is longer than the bitstream")
        lengths.append(length)
    if bits.take(-bits.bits_taken % 8):
        raise BitstreamError("section table is damaged: bits behind it are not zero")
    last = len(rest) - bits.bits_taken // 8 - known_length
    if last < 0:
        raise BitstreamError("section table is damaged: the sections are longer than the bitstream")
    return [*lengths, last]


class _BackwardBits:
    """A bit string whose first byte is the last one of the buffer."""

    def __init__(self, buffer: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in reversed(buffer))
        self._at = 0

    def take(self, count: int) -> int:
        if self._at + count > len(self._bits):
            raise BitstreamError("bitstream ends within its section table")
        value = int(self._bits[self._at : self._at + count], 2) if count else 0
        self._at += count
        return value

    def leading_zeros(self) -> int:
        one = self._bits.find("1", self._at, self._at + 64)
        if one < 0:
            raise BitstreamError("section table is damaged")
        zeros = one - self._at
        self._at = one
        return zeros

    @property
    def bits_taken(self) -> int:
        return self._at
