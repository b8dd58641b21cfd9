"""`vvc`: pages of levels coded as intra frames by VVC, with Fraunhofer's VVenC.

VVenC and a decoder come as programs: its own `vvencapp` and `vvdecapp` where they are on the PATH, otherwise the ffmpeg
of the package imageio-ffmpeg, which has VVenC built in. Their streams are the same but for some of the headers.
"""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lamofcbench.codecs.images.codec import ImageCodec, ImageParams, deflate_header, inflate_header
from lamofcbench.codecs.images.nal_units import START_CODE, join_units, split_units
from lamofcbench.codecs.images.page_layout import Levels
from lamofcbench.errors import BitstreamError, CodecError

ENCODER, DECODER = "vvencapp", "vvdecapp"
PACKAGE = "imageio_ffmpeg"
TIMEOUT_SECONDS = 600
DECODER_MEMORY_BYTES = 2**30
"""The address space that a decoder gets beside `DECODER_MEMORY_PER_SAMPLE`: a crafted stream may claim any size."""
DECODER_MEMORY_PER_SAMPLE = 128
DECODER_SECONDS, DECODER_SAMPLES_A_SECOND = 2, 200_000
"""The processor time that a decoder gets, and with each further second so many samples: far more than a page takes."""
PARAMETER_UNITS = (14, 15, 16, 20, 23)
"""NAL unit types without samples: video, sequence and picture parameter sets, delimiter and messages."""
_SEQUENCE_SETS = (
    "0079000b02108000808203046a03f44268a4f79c26cac608104e0abef4bb159c900000030010000003019310",
    "0079000b0210800080820411a80fd109a293de709b2b182041382afbd2ec56724000000300400000064c40",
    "0079000b022080008040804046a03f44268a4f79c26cac608104e0abef4bb159c90000030001000003001931",
    "0079000b02108000804080811a80fd109a293de709b2b182041382afbd2ec5672400000300040000030064c4",
    "0079000b02108000804081046a03f44268a4f79c26cac608104e0abef4bb159c900000030010000003019310",
)
_PICTURE_SETS = (
    "00810000410182261fb020",
    "00810000410208987ec080",
    "008100002040202261fb02",
    "008100002040408987ec08",
    "00810000204082261fb020",
)
"""What VVenC writes for five sizes of pages: with the size, the alignment of all that follows it changes."""
TYPICAL_HEADER = b"".join(
    START_CODE.join(map(bytes.fromhex, ("00a188", *sets))) for sets in zip(_SEQUENCE_SETS, _PICTURE_SETS, strict=True)
)
"""The headers, a delimiter and two parameter sets each; those of other pages resemble one of them."""

Preset = Literal["faster", "fast", "medium", "slow", "slower"]


@dataclass(frozen=True)
class VvcParams(ImageParams):
    """Parameters of `VvcCodec`.

    Attributes:
        qp: the quantiser; six more double its step.
        preset: of VVenC: how long it searches. ``medium`` takes about four times as long as ``fast``.
    """

    qp: Annotated[int, Field(ge=0, le=63)] = 32
    preset: Preset = "fast"


class VvcCodec(ImageCodec):
    """Maps values to 10-bit levels and codes their planes as VVC intra frames (VVenC).

    The encoder takes 4:2:0 video, so the planes are the luma and the chroma is constant.
    """

    name = "vvc"
    Params = VvcParams
    rate_points = tuple({"qp": qp} for qp in (8, 18, 23, 27, 31, 36, 42, 47))
    rate_step = 4
    extra = "vvc"
    paper = "https://www.itu.int/rec/T-REC-H.266"

    @classmethod
    def unavailable(cls) -> str | None:
        """What there are no programs without."""
        if _has_own_programs() or importlib.util.find_spec(PACKAGE) is not None:
            return None
        return (
            f"codec {cls.name!r} needs {ENCODER} and {DECODER} on the PATH, or an ffmpeg with VVenC: "
            f"pip install 'lamofcbench[{cls.extra}]'"
        )

    def encode_image(self, levels: Levels) -> bytes:
        """The header, deflated, and the units of the only frame."""
        height, width = levels.shape
        chroma = np.full(height * width // 2, 2 ** (self.bits - 1), "<u2")
        with tempfile.TemporaryDirectory() as folder:
            video, stream = Path(folder, "video.yuv"), Path(folder, "stream.266")
            video.write_bytes(levels.astype("<u2").tobytes() + chroma.tobytes())
            command = _encoding(video, stream, height, width, self.params)
            try:
                _run(command)
                units = split_units(stream.read_bytes())
            except (OSError, subprocess.SubprocessError) as error:
                raise CodecError(f"{_name(command)} cannot encode: {_reason(error)}") from error
        header = list(itertools.takewhile(lambda unit: _kind(unit) in PARAMETER_UNITS, units))
        if len(header) == len(units):
            raise CodecError(f"{_name(command)} has written no picture")
        return deflate_header(START_CODE.join(header), TYPICAL_HEADER) + START_CODE.join(units[len(header) :])

    def decode_image(self, data: bytes, height: int, width: int) -> Levels:
        """The luma samples."""
        luma_bytes = 2 * height * width
        frame_bytes = luma_bytes * 3 // 2
        header, picture = inflate_header(data, TYPICAL_HEADER)
        with tempfile.TemporaryDirectory() as folder:
            stream, video = Path(folder, "stream.266"), Path(folder, "video.yuv")
            stream.write_bytes(join_units([*header.split(START_CODE), picture]))
            command = _decoding(stream, video)
            try:
                _run(command, _limit(height * width, frame_bytes))
                size = video.stat().st_size
                if size != frame_bytes:
                    raise BitstreamError(f"{_name(command)} writes {size} bytes; the shapes need {frame_bytes}")
                return np.frombuffer(video.read_bytes(), "<u2", height * width).reshape(height, width)
            except (OSError, subprocess.SubprocessError) as error:
                raise BitstreamError(f"{_name(command)} cannot decode: {_reason(error)}") from error


def _kind(unit: bytes) -> int:
    """The type of a NAL unit, ITU-T H.266, 7.3.1.2; -1 where it is too short to have one."""
    return unit[1] >> 3 if len(unit) > 1 else -1


def _has_own_programs() -> bool:
    return shutil.which(ENCODER) is not None and shutil.which(DECODER) is not None


def _encoding(video: Path, stream: Path, height: int, width: int, params: VvcParams) -> list[str]:
    """The command that codes a frame; adaptive quantisation, which is for eyes, is off."""
    size = f"{width}x{height}"
    if _has_own_programs():
        return [
            ENCODER, "--input", str(video), "--size", size, "--format", "yuv420_10", "--frames", "1",
            "--intraperiod", "1", "--qp", str(params.qp), "--preset", params.preset, "--qpa", "0", "--threads", "1",
            "--verbosity", "1", "--output", str(stream),
        ]  # fmt: skip
    return [
        *_ffmpeg(), "-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", size, "-i", str(video), "-frames:v", "1",
        "-c:v", "libvvenc", "-preset", params.preset, "-qp", str(params.qp), "-qpa", "0", "-threads", "1",
        "-vvenc-params", "intraperiod=1:threads=1:verbosity=0", "-f", "vvc", str(stream),
    ]  # fmt: skip


def _decoding(stream: Path, video: Path) -> list[str]:
    """The command that decodes a frame."""
    if _has_own_programs():
        return [DECODER, "--bitstream", str(stream), "--output", str(video), "--threads", "1", "--verbosity", "1"]
    return [
        *_ffmpeg(), "-xerror", "-err_detect", "explode", "-threads", "1", "-f", "vvc", "-i", str(stream),
        "-f", "rawvideo", "-pix_fmt", "yuv420p10le", str(video),
    ]  # fmt: skip


def _ffmpeg() -> list[str]:
    import imageio_ffmpeg

    return [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-loglevel", "error"]


def _name(command: Sequence[str]) -> str:
    return Path(command[0]).name.partition("-")[0]


def _run(command: Sequence[str], before: Callable[[], None] | None = None) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_SECONDS, preexec_fn=before)


def _limit(samples: int, file_bytes: int) -> Callable[[], None]:
    """What the decoder's process does before the program starts: takes memory, time and file size away from itself."""
    memory_bytes = DECODER_MEMORY_BYTES + samples * DECODER_MEMORY_PER_SAMPLE
    seconds = DECODER_SECONDS + samples // DECODER_SAMPLES_A_SECOND

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    return limit


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {error.returncode}"
    return str(error)
