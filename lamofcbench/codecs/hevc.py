"""`hevc`: pages of levels coded as intra frames by HEVC."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from lamofcbench.codecs.images.codec import ImageCodec, ImageParams, decode_frame, deflate_header, inflate_header
from lamofcbench.codecs.images.headers import check_hevc_sequence, require
from lamofcbench.codecs.images.nal_units import START_CODE, join_units, split_units
from lamofcbench.codecs.images.page_layout import Levels

VIDEO, SEQUENCE, PICTURE = 32, 33, 34
IDR = (19, 20)
# NAL unit types of the three parameter sets and of pictures without references, ITU-T H.265, table 7-1.
TYPICAL_SETS = bytes.fromhex(
    "40010c01ffff0408000003009de800000300001eba02400000014201010408000003009de800000300001ec0448124d96ea4"
    "932b9a0200000300020000030032100000014401c1718112"
)
"""The parameter sets that x265 writes for some page; those of other pages resemble them."""

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]


@dataclass(frozen=True)
class HevcParams(ImageParams):
    """Parameters of `HevcCodec`.

    Attributes:
        qp: the quantiser, the same for all blocks; six more double its step.
        preset: of x265: how long it searches.
    """

    qp: Annotated[int, Field(ge=0, le=51)] = 28
    preset: Preset = "medium"


class HevcCodec(ImageCodec):
    """Maps values to 10-bit levels and codes their planes as monochrome HEVC intra frames (x265)."""

    name = "hevc"
    Params = HevcParams
    rate_points = tuple({"qp": qp} for qp in (8, 18, 23, 27, 31, 36, 42, 47))
    rate_step = 4
    requires = ("av",)
    paper = "https://www.itu.int/rec/T-REC-H.265"

    def encode_image(self, levels: Levels) -> bytes:
        """The parameter sets, and the slice of the only frame."""
        import av

        options = {
            "qp": self.params.qp,
            "keyint": 1,
            # What is there for eyes costs squared error: adaptive quantisation, and a preference for texture.
            "aq-mode": 0,
            "psy-rd": 0,
            "psy-rdoq": 0,
            "rdoq-level": 2,
            "info": 0,  # no text about the encoder
            "frame-threads": 1,
            "pools": "none",
            "wpp": 0,
            "log-level": "none",
        }
        context: Any = av.CodecContext.create("libx265", "w")
        context.height, context.width = levels.shape
        context.pix_fmt = "gray10le"
        context.time_base = Fraction(1, 25)
        context.thread_count = 1
        parameters = ":".join(f"{name}={value}" for name, value in options.items())
        context.options = {"preset": self.params.preset, "x265-params": parameters}
        frame = av.VideoFrame.from_ndarray(levels.astype(np.uint16), format="gray10le")
        coded = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
        *sets, picture = split_units(coded)
        return deflate_header(START_CODE.join(sets), TYPICAL_SETS) + picture

    def decode_image(self, data: bytes, height: int, width: int) -> Levels:
        """The samples."""
        header, picture = inflate_header(data, TYPICAL_SETS)
        sets = header.split(START_CODE)
        kinds = [unit[0] >> 1 if unit else None for unit in [*sets, picture]]
        require(kinds[:3] == [VIDEO, SEQUENCE, PICTURE] and len(kinds) == 4 and kinds[3] in IDR, f"HEVC units {kinds}")
        require(START_CODE not in picture, "several HEVC pictures")
        check_hevc_sequence(sets[1], height, width)
        return decode_frame("hevc", join_units([*sets, picture]), "gray10le", height, width)
