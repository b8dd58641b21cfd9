"""Fixed-width codes packed end to end, as serving systems keep quantised caches: ``width`` bits a code, no more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamofcbench.errors import BitstreamError

MAX_WIDTH = 8
_CODES_A_WORD = 8


def packed_bytes(count: int, width: int) -> int:
    """How many bytes ``count`` codes take.

    Example:
        >>> packed_bytes(5, 3)
        2
    """
    return -(-count * width // 8)


def pack_bits(codes: NDArray[np.uint8], width: int) -> bytes:
    """Codes below ``2**width`` as a bit string, the first code in the lowest bits of the first byte.

    Eight codes fill ``width`` whole bytes, so they are gathered in a 64-bit word whose lower bytes are kept.

    Args:
        codes: any shape, row-major.
        width: bits a code, 1 to 8.

    Example:
        >>> pack_bits(np.array([1, 2, 3, 0, 1], np.uint8), width=2).hex()
        '3901'
    """
    flat = codes.reshape(-1)
    size = packed_bytes(flat.size, width)
    if width == MAX_WIDTH:
        return flat.tobytes()
    words = np.zeros((-(-flat.size // _CODES_A_WORD), _CODES_A_WORD), np.uint8)
    words.reshape(-1)[: flat.size] = flat
    gathered = np.zeros(len(words), "<u8")
    for position in range(_CODES_A_WORD):
        gathered |= words[:, position].astype("<u8") << np.uint64(position * width)
    return gathered.view(np.uint8).reshape(-1, 8)[:, :width].tobytes()[:size]


def unpack_bits(data: bytes, count: int, width: int) -> NDArray[np.uint8]:
    """The codes of a bit string, uint8 ``[count]``; the inverse of `pack_bits`.

    Raises:
        BitstreamError: if the bytes are not as many as the codes take, or unused bits of the last one are set.
    """
    if len(data) != packed_bytes(count, width):
        raise BitstreamError(f"{len(data)} bytes cannot hold {count} codes of {width} bits")
    raw = np.frombuffer(data, np.uint8)
    if count * width % 8 and raw[-1] >> (count * width % 8):
        raise BitstreamError("unused bits behind packed codes are set")
    if width == MAX_WIDTH:
        return raw
    words = np.zeros((-(-count // _CODES_A_WORD), 8), np.uint8)
    packed = np.zeros((len(words), width), np.uint8)
    packed.reshape(-1)[: raw.size] = raw
    words[:, :width] = packed
    gathered = words.view("<u8").reshape(-1)
    codes = np.empty((len(words), _CODES_A_WORD), np.uint8)
    for position in range(_CODES_A_WORD):
        codes[:, position] = (gathered >> np.uint64(position * width)) & np.uint64(2**width - 1)
    return codes.reshape(-1)[:count]
