"""`avif`: pages of levels coded by AV1 as AVIF images are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from lamofcbench.codecs.images.codec import ImageCodec, ImageParams, decode_frame
from lamofcbench.codecs.images.headers import check_av1
from lamofcbench.codecs.images.page_layout import Levels

DELIMITER = b"\x12\x00"
"""The AV1 unit with which each image begins, and ours leave out."""


@dataclass(frozen=True)
class AvifParams(ImageParams):
    """Parameters of `AvifCodec`.

    Attributes:
        quality: of libavif, 0 to 99.
        speed: of the encoder, 0 (slow) to 10.
    """

    quality: Annotated[int, Field(ge=0, le=99)] = 60
    speed: Annotated[int, Field(ge=0, le=10)] = 6


class AvifCodec(ImageCodec):
    """Maps values to 10-bit levels and codes their planes as AVIF images (libaom).

    The planes are the luma of a 4:2:0 image whose chroma is constant, since libavif's Python interface has no lossy
    monochrome images. What is sent is the coded image alone, without the boxes that an AVIF file puts around it, which
    tell what the shapes tell.
    """

    name = "avif"
    Params = AvifParams
    rate_points = tuple({"quality": quality} for quality in (97, 88, 80, 70, 58, 40, 20, 3))
    rate_step = 8
    requires = ("imagecodecs", "av")
    paper = "https://aomediacodec.github.io/av1-spec/"

    def encode_image(self, levels: Levels) -> bytes:
        """The sequence header and the frame."""
        import imagecodecs

        file = bytes(
            imagecodecs.avif_encode(
                np.repeat(levels.astype(np.uint16)[..., None], 3, axis=2),
                level=self.params.quality,
                speed=self.params.speed,
                bitspersample=self.bits,
                pixelformat="420",
                codec="aom",
                numthreads=1,
            )
        )
        return file[file.index(b"mdat") + 4 :].removeprefix(DELIMITER)

    def decode_image(self, data: bytes, height: int, width: int) -> Levels:
        """The luma samples."""
        check_av1(data, height, width)
        return decode_frame("libdav1d", DELIMITER + data, "yuv420p10le", height, width)
