"""How words and states become bytes, and how many lanes a stream has.

The bytes are one little-endian number: the words from the first that the encoder put away to the last, then the states
from the last lane to the first. The first lane's state ends the number, so its zero bytes need not be stored. It has at
least three bytes where anything is below it, so that an odd or even length says whether it has three or four.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.rans.layout import LOWEST
from lamofcbench.errors import BitstreamError

LANES = 4
LANES_FROM = 2**14
"""Streams of at least so many bytes have `LANES` lanes, others one."""


def lanes_of(payload_bytes: int) -> int:
    """How many lanes a stream of this size has."""
    return LANES if payload_bytes >= LANES_FROM else 1


def first_states(lanes: int) -> NDArray[np.int64]:
    """The states that encoding starts with and decoding ends with, ``[4]``; one lane alone can do without a start."""
    return np.full(LANES, LOWEST if lanes > 1 else 0, np.int64)


def to_bytes(words: NDArray[np.uint16], states: list[int], lanes: int) -> bytes:
    """The stream of these words and states; states in the order in which the encoder takes them next."""
    below = [state.to_bytes(4, "little") for state in states[: lanes - 1]]
    return b"".join([words.astype("<u2").tobytes(), *below, states[lanes - 1].to_bytes(4, "little").rstrip(b"\0")])


def from_bytes(payload: bytes, lanes: int) -> tuple[NDArray[np.uint16], list[int]]:
    """Words, and states in the order in which the decoder takes them.

    Args:
        payload: without zero bytes at its end.
        lanes: 1 or `LANES`.

    Raises:
        BitstreamError: if it is too short for so many lanes.
    """
    top = len(payload) if lanes == 1 and len(payload) <= 4 else 4 - len(payload) % 2
    end = len(payload) - top - 4 * (lanes - 1)
    if end < 0:
        raise BitstreamError(f"{len(payload)} bytes of coded symbols are too few for {lanes} lanes")
    below = np.frombuffer(payload[end : len(payload) - top], "<u4")[::-1].tolist()
    states = [int.from_bytes(payload[len(payload) - top :], "little"), *below]
    return np.frombuffer(payload[:end], "<u2").astype(np.uint16), states + [0] * (LANES - lanes)
