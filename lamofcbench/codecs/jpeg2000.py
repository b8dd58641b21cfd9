"""`jpeg2000`: pages of levels coded by JPEG 2000."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from lamofcbench.codecs.images.codec import ImageCodec, ImageParams, decoding, deflate_header, inflate_header
from lamofcbench.codecs.images.headers import require
from lamofcbench.codecs.images.page_layout import Levels
from lamofcbench.errors import CodecError

# Markers of a codestream, ITU-T T.800, annex A.
START, SIZE, STYLE, QUANTISATION, COMMENT = b"\xff\x4f", b"\xff\x51", b"\xff\x52", b"\xff\x5c", b"\xff\x64"
TILE, DATA, END = b"\xff\x90", b"\xff\x93", b"\xff\xd9"
TILE_HEADER_BYTES = 14

PRECINCTS = b"\x88"
"""Precincts of 256x256 samples, at each resolution."""
MAX_DECOMPOSITIONS = 5
TYPICAL_STEPS = bytes.fromhex("42872086f086f086c07f007f007ee077507750776860056005604767d367d36762")
"""OpenJPEG's quantiser steps for 10 bits and five decompositions; those for fewer end in the same way."""


@dataclass(frozen=True)
class Jpeg2000Params(ImageParams):
    """Parameters of `Jpeg2000Codec`.

    Attributes:
        psnr: what the encoder aims at, in dB of the range of levels.
    """

    psnr: Annotated[float, Field(ge=10, le=90)] = 40.0


class Jpeg2000Codec(ImageCodec):
    """Maps values to 10-bit levels and codes their planes as JPEG 2000 images (OpenJPEG, 9/7 wavelet).

    Of the codestream's headers only the quantiser's steps are sent, the decoder writes the others itself.
    """

    name = "jpeg2000"
    Params = Jpeg2000Params
    rate_points = tuple({"psnr": psnr} for psnr in (55.0, 47.0, 42.0, 38.0, 35.0, 32.0, 29.0, 25.0))
    rate_step = 4
    requires = ("imagecodecs",)
    paper = "https://www.itu.int/rec/T-REC-T.800"

    def encode_image(self, levels: Levels) -> bytes:
        """The quantiser's steps and the coded data of the only tile."""
        import imagecodecs

        codestream = bytes(
            imagecodecs.jpeg2k_encode(
                levels.astype(np.uint16),
                level=self.params.psnr,
                codecformat="j2k",
                bitspersample=self.bits,
                reversible=False,
                numthreads=1,
            )
        )
        segments, tile_at = _segments(codestream)
        steps = segments[QUANTISATION]
        data = codestream[tile_at + TILE_HEADER_BYTES : -len(END)]
        ours = self._codestream(steps, data, *levels.shape)
        our_segments, our_tile_at = _segments(ours)
        segments.pop(COMMENT, None)
        if our_segments != segments or ours[our_tile_at:] != codestream[tile_at:]:
            raise CodecError(f"codec {self.name!r} expects other headers of OpenJPEG; install imagecodecs as pinned")
        return deflate_header(steps, TYPICAL_STEPS) + data

    def decode_image(self, data: bytes, height: int, width: int) -> Levels:
        """The samples."""
        import imagecodecs

        steps, rest = inflate_header(data, TYPICAL_STEPS)
        codestream = self._codestream(steps, rest, height, width)
        with decoding("JPEG 2000"):
            levels: Levels = imagecodecs.jpeg2k_decode(codestream, numthreads=1)
        return levels

    def _codestream(self, steps: bytes, data: bytes, height: int, width: int) -> bytes:
        """A whole codestream of one tile, one component and one layer, whatever the data are."""
        decompositions, odd = divmod(len(steps) - 3, 6)  # a style byte, a step for LL, three for each decomposition
        require(not odd and 0 <= decompositions <= MAX_DECOMPOSITIONS, f"{len(steps)} bytes of JPEG 2000 steps")
        size = struct.pack(">HIIIIIIIIHBBB", 0, width, height, 0, 0, width, height, 0, 0, 1, self.bits - 1, 1, 1)
        # Own precincts; resolution-position order, one layer, no component transform; blocks of 64x64, 9/7 wavelet.
        style = bytes([1, 2, 0, 1, 0, decompositions, 4, 4, 0, 0]) + PRECINCTS * (decompositions + 1)
        segments = [(SIZE, size), (STYLE, style), (QUANTISATION, steps)]
        head = b"".join(marker + struct.pack(">H", len(content) + 2) + content for marker, content in segments)
        tile = TILE + struct.pack(">HHIBB", 10, 0, len(data) + TILE_HEADER_BYTES, 0, 1)
        return START + head + tile + DATA + data + END


def _segments(codestream: bytes) -> tuple[dict[bytes, bytes], int]:
    """The content of each segment of an own codestream's main header, by marker, and where the tile begins."""
    segments, at = {}, len(START)
    while (marker := codestream[at : at + 2]) != TILE:
        end = at + 2 + int.from_bytes(codestream[at + 2 : at + 4], "big")
        segments[marker] = codestream[at + 4 : end]
        at = end
    return segments, at
