"""zstd frames into a buffer of a fixed limit: what would grow beyond it is refused, where it says so at once."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import zstandard

from dataset_builders.full.published.growing import GrowingBytes
from lamofcbench.errors import DataError, first_line

STEP_BYTES = 2**20
READ_BYTES = 2**20
MAX_WINDOW_BYTES = 2**27
"""What zstd itself agrees to without being asked; a frame may demand as much memory beside the buffer."""
_LONGEST_FRAME_HEADER = 18
_UNKNOWN = 2**64 - 1  # zstd's CONTENTSIZE_UNKNOWN
FIRST_BYTES = b"PK\x03\x04"
"""Of what ``torch.save`` writes, a zip archive; anything else is not decompressed further than this."""


def decompress(path: Path, into: GrowingBytes) -> None:
    """Decompresses a file, and tells the buffer how far it is, or what is wrong; raises nothing.

    Args:
        path: the ``.zst`` file.
        into: decompression stops when its limit is passed, or when nobody wants more.
    """
    try:
        if not path.is_file():  # opening a pipe would wait
            raise DataError("is no regular file")
        with path.open("rb", buffering=0) as file:
            declared = _declared_bytes(file)
            if declared is not None and declared > into.limit:
                raise DataError(f"declares {declared} bytes; a sample of this scenario takes at most {into.limit}")
            _fill(file, into)
        if declared is not None and into.available < declared and not into.unwanted.is_set():
            raise DataError(f"is truncated: {into.available} of {declared} bytes came out of it")
        into.end()
    except DataError as error:
        into.end(error)
    except (zstandard.ZstdError, OSError, ValueError, MemoryError) as error:
        into.end(DataError(f"cannot be decompressed: {first_line(error)}"))
    except BaseException as error:  # whoever waits must not wait for ever
        into.end(DataError(f"cannot be decompressed: {type(error).__name__}"))


def _declared_bytes(file: BinaryIO) -> int | None:
    head = file.read(_LONGEST_FRAME_HEADER)
    file.seek(0)
    if not head:
        raise DataError("is empty")
    size = zstandard.get_frame_parameters(head).content_size
    return None if size in (_UNKNOWN, 0) else size  # a frame to be skipped may stand before the content


def _fill(file: BinaryIO, into: GrowingBytes) -> None:
    reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).stream_reader(
        file, read_size=READ_BYTES, read_across_frames=True, closefd=False
    )
    while not into.unwanted.is_set():
        start, limit = into.available, into.limit  # the limit falls once the archive has told what it holds
        if start >= limit:
            if start > limit or reader.read(1):
                raise DataError(f"holds more than {limit} bytes, the most that its tensors or this scenario's take")
            return
        count = reader.readinto(into.view[start : min(start + STEP_BYTES, limit)])
        if not count:
            return
        if start == 0 and bytes(into.view[: min(count, 4)]) != FIRST_BYTES[: min(count, 4)]:
            raise DataError("holds no archive of torch.save")
        into.advance(count)
