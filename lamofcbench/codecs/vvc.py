"""`vvc`: pages of levels coded as intra frames by VVC, through the programs of Fraunhofer's VVenC and VVdeC."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lamofcbench.codecs.images.codec import ImageCodec, ImageParams
from lamofcbench.codecs.images.page_layout import Levels
from lamofcbench.errors import BitstreamError, CodecError

ENCODER, DECODER = "vvencapp", "vvdecapp"
TIMEOUT_SECONDS = 600
DECODER_MEMORY_BYTES = 2**30
"""The address space that a decoder gets beside `DECODER_MEMORY_PER_SAMPLE`: a crafted stream may claim any size."""
DECODER_MEMORY_PER_SAMPLE = 64


@dataclass(frozen=True)
class VvcParams(ImageParams):
    """Parameters of `VvcCodec`.

    Attributes:
        qp: the quantiser; six more double its step.
        preset: of VVenC: how long it searches.
    """

    qp: Annotated[int, Field(ge=0, le=63)] = 32
    preset: Literal["faster", "fast", "medium", "slow", "slower"] = "medium"


class VvcCodec(ImageCodec):
    """Maps values to 10-bit levels and codes their planes as VVC intra frames, where `vvencapp` and `vvdecapp` are.

    The programs read and write 4:2:0 video, so the planes are the luma and the chroma is constant.
    """

    name = "vvc"
    Params = VvcParams
    rate_points = tuple({"qp": qp} for qp in (8, 16, 24, 30, 36, 42, 48, 56))
    extra = ""
    paper = "https://www.itu.int/rec/T-REC-H.266"

    @classmethod
    def unavailable(cls) -> str | None:
        """Which programs are not on the PATH."""
        missing = [program for program in (ENCODER, DECODER) if shutil.which(program) is None]
        if not missing:
            return None
        return (
            f"codec {cls.name!r} needs {' and '.join(missing)} on the PATH; build VVenC and VVdeC from "
            "https://github.com/fraunhoferhhi and add their programs to it"
        )

    def encode_image(self, levels: Levels) -> bytes:
        """The stream as the program writes it."""
        height, width = levels.shape
        chroma = np.full(height * width // 2, 2 ** (self.bits - 1), "<u2")
        with tempfile.TemporaryDirectory() as folder:
            video, stream = Path(folder, "video.yuv"), Path(folder, "stream.266")
            video.write_bytes(levels.astype("<u2").tobytes() + chroma.tobytes())
            arguments = {
                "--input": video,
                "--size": f"{width}x{height}",
                "--format": "yuv420_10",
                "--frames": 1,
                "--intraperiod": 1,
                "--qp": self.params.qp,
                "--preset": self.params.preset,
                "--qpa": 0,  # adaptive quantisation is for eyes
                "--threads": 1,
                "--verbosity": 1,
                "--output": stream,
            }
            try:
                _run(ENCODER, arguments)
                return stream.read_bytes()
            except (OSError, subprocess.SubprocessError) as error:
                raise CodecError(f"{ENCODER} cannot encode: {_reason(error)}") from error

    def decode_image(self, data: bytes, height: int, width: int) -> Levels:
        """The luma samples."""
        luma_bytes = 2 * height * width
        frame_bytes = luma_bytes * 3 // 2
        with tempfile.TemporaryDirectory() as folder:
            stream, video = Path(folder, "stream.266"), Path(folder, "video.yuv")
            stream.write_bytes(data)
            arguments = {"--bitstream": stream, "--output": video, "--threads": 1, "--verbosity": 1}
            try:
                _run(
                    DECODER,
                    arguments,
                    _limit(DECODER_MEMORY_BYTES + DECODER_MEMORY_PER_SAMPLE * luma_bytes, frame_bytes),
                )
                size = video.stat().st_size
                if size != frame_bytes:
                    raise BitstreamError(f"{DECODER} writes {size} bytes; the shapes need {frame_bytes}")
                return np.frombuffer(video.read_bytes(), "<u2", height * width).reshape(height, width)
            except (OSError, subprocess.SubprocessError) as error:
                raise BitstreamError(f"{DECODER} cannot decode: {_reason(error)}") from error


def _run(program: str, arguments: dict[str, object], before: Callable[[], None] | None = None) -> None:
    words: Sequence[str] = [program, *(str(word) for pair in arguments.items() for word in pair)]
    subprocess.run(words, check=True, capture_output=True, timeout=TIMEOUT_SECONDS, preexec_fn=before)


def _limit(memory_bytes: int, file_bytes: int) -> Callable[[], None]:
    """What the decoder's process does before the program starts: takes memory and file size away from itself."""

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    return limit


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {error.returncode}"
    return str(error)
