"""Byte streams of network abstraction layer units, as HEVC and VVC have (ITU-T H.265 and H.266, annex B)."""

from __future__ import annotations

from collections.abc import Iterable

START_CODE = b"\0\0\1"


def split_units(stream: bytes) -> list[bytes]:
    """The units of a byte stream, without start codes and the zero bytes before them.

    Example:
        >>> split_units(join_units([b"parameters", b"picture"]))
        [b'parameters', b'picture']
    """
    return [unit.rstrip(b"\0") for unit in stream.split(START_CODE)[1:]]


def join_units(units: Iterable[bytes]) -> bytes:
    """A byte stream of units."""
    return b"".join(START_CODE + unit for unit in units)
