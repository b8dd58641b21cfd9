"""A bitstream taken apart without decoding it: sizes, side information and sections, checked against the specs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from lamofcbench.bitstream import BitstreamReader
from lamofcbench.errors import BitstreamError, shown
from lamofcbench.scenarios.base import FeatureSpecs

MAX_ELEMENTS = 2**29
"""Larger feature sets are not coded; a decoder refuses them before it allocates anything."""


class Container(NamedTuple):
    """What a bitstream holds.

    Attributes:
        sections: the payloads: one for each tensor, or one for all of a codec that joins them.
        shapes: of the tensors, by name.
        side: side information, by name.
    """

    sections: list[bytes]
    shapes: dict[str, tuple[int, ...]]
    side: dict[str, int]


def open_container(data: bytes, fingerprint: bytes, specs: FeatureSpecs, *, joined: bool) -> Container:
    """The parts of a bitstream.

    Args:
        data: the bitstream.
        fingerprint: of the codec that made it.
        specs: of the tensors that it codes.
        joined: whether that codec joins tensors.

    Raises:
        BitstreamError: if the container is truncated, damaged, foreign or hostile.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise BitstreamError(f"a bitstream is bytes, not {shown(data)}")
    reader = BitstreamReader(bytes(data), fingerprint)
    sizes = {axis.name: reader.unsigned(f"axis {axis.name!r}", limit=axis.limit) for axis in specs.axes}
    side = {name: reader.signed(f"side information {name!r}") for name in specs.side}
    shapes = {spec.name: spec.sized(sizes) for spec in specs.tensors}
    elements = sum(map(math.prod, shapes.values()))
    if elements > MAX_ELEMENTS:
        raise BitstreamError(f"bitstream claims {elements} elements; at most {MAX_ELEMENTS} are decoded")
    return Container(reader.sections(raw_sizes(specs, shapes, joined=joined)), shapes, side)


def raw_sizes(specs: FeatureSpecs, shapes: Mapping[str, tuple[int, ...]], *, joined: bool) -> list[int]:
    """The uncoded size, in bytes, of what each section holds."""
    sizes = [math.prod(shapes[spec.name]) * spec.bits // 8 for spec in specs.tensors]
    return [sum(sizes)] if joined else sizes
