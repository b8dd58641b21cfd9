"""DEFLATE (RFC 1951) for data of a known size, with whatever follows it in a payload."""

from __future__ import annotations

import zlib

from lamofcbench.errors import BitstreamError

LARGEST_RATIO = 1032
"""A match of 258 bytes takes two bits at the least."""
_RAW = -zlib.MAX_WBITS
_MEMORY_LEVEL = 9
_MEMORY_LEVELS = (9, 8, 7, 6, 5)


def compress(data: bytes, *, short: bool = False) -> bytes:
    """A raw DEFLATE stream, without header and checksum, which the container has; nothing for no bytes.

    Args:
        data: anything.
        short: True where statistics change within few bytes: then blocks, each with its own code, of 32768 down to 2048
            symbols are tried, which takes five times as long.
    """
    if not data:
        return b""
    streams = []
    for level in _MEMORY_LEVELS if short else (_MEMORY_LEVEL,):
        stream = zlib.compressobj(9, zlib.DEFLATED, _RAW, level)
        streams.append(stream.compress(data) + stream.flush())
    return min(streams, key=len)


def decompress(payload: bytes, size: int) -> tuple[bytes, bytes]:
    """Exactly ``size`` bytes, and what follows the stream; no more are ever made, whatever the stream holds.

    Raises:
        BitstreamError: if the payload does not start with a stream of this size.
    """
    if not size:
        return b"", payload
    if size > LARGEST_RATIO * len(payload):
        raise BitstreamError(f"{len(payload)} bytes of DEFLATE cannot hold {size}")
    stream = zlib.decompressobj(_RAW)
    try:
        data = stream.decompress(payload, size)
        beyond = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise BitstreamError(f"DEFLATE cannot decompress: {error}") from error
    if len(data) != size or beyond or not stream.eof:
        raise BitstreamError(f"DEFLATE does not hold the {size} bytes that the shapes need")
    return data, stream.unused_data
