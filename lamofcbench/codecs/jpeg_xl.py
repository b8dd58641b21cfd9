"""`jpeg-xl`: pages of levels coded by JPEG XL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from lamofcbench.codecs.images.codec import ImageCodec, ImageParams, decoding
from lamofcbench.codecs.images.headers import check_jpeg_xl
from lamofcbench.codecs.images.page_layout import Levels

SIGNATURE = b"\xff\x0a"
"""What each codestream begins with, and ours leave out."""


@dataclass(frozen=True)
class JpegXlParams(ImageParams):
    """Parameters of `JpegXlCodec`.

    Attributes:
        distance: the allowed distortion in JPEG XL's own perceptual unit.
        effort: of the encoder, 1 (fast) to 10.
    """

    distance: Annotated[float, Field(ge=0.01, le=25)] = 1.0
    effort: Annotated[int, Field(ge=1, le=10)] = 5


class JpegXlCodec(ImageCodec):
    """Maps values to 10-bit levels and codes their planes as JPEG XL images (libjxl), lossy."""

    name = "jpeg-xl"
    Params = JpegXlParams
    rate_points = tuple({"distance": distance} for distance in (0.1, 0.4, 0.8, 1.2, 2.0, 4.0, 9.0, 19.0))
    requires = ("imagecodecs",)
    paper = "https://www.iso.org/standard/85066.html"

    def encode_image(self, levels: Levels) -> bytes:
        """A bare codestream without its signature."""
        import imagecodecs

        codestream = imagecodecs.jpegxl_encode(
            levels.astype(np.uint16),
            distance=self.params.distance,
            effort=self.params.effort,
            bitspersample=self.bits,
            usecontainer=False,
            numthreads=1,
        )
        return bytes(codestream).removeprefix(SIGNATURE)

    def decode_image(self, data: bytes, height: int, width: int) -> Levels:
        """The samples."""
        import imagecodecs

        check_jpeg_xl(SIGNATURE + data, height, width, self.bits)
        with decoding("JPEG XL"):
            levels: Levels = imagecodecs.jpegxl_decode(SIGNATURE + data, numthreads=1)
        return levels
