"""Pictures of raw data: files in folders, and rows of Parquet files as `datasets` writes them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from dataset_builders.full.raw import rows
from lamofcbench.errors import DataError, first_line
from lamofcbench.rasters import MAX_PIXELS

PICTURE_ENDS = (".jpg", ".jpeg", ".png")
TABLE_END = ".parquet"
MAX_IMAGE_BYTES = 2**28


class Picture(NamedTuple):
    """A picture that was found and not read.

    Attributes:
        path: of the file, or what the row says it was.
        label: the row's number of a class; None for a file.
        read: gives the bytes of its file.
    """

    path: PurePosixPath
    label: int | None
    read: Callable[[], bytes]


def pictures(files: Sequence[Path]) -> Iterator[Picture]:
    """The pictures of files and Parquet files.

    Raises:
        DataError: if a table cannot be read, or has no column ``image``.
    """
    for file in files:
        if file.suffix != TABLE_END:
            yield Picture(PurePosixPath(file.as_posix()), None, lambda file=file: picture_bytes(file))  # type: ignore[misc]
            continue
        for number, row in enumerate(rows([file], ["image.path", "label"])):
            if not isinstance(row.get("image"), dict):
                raise DataError(f"{file} has no column of images")
            path = PurePosixPath(row["image"].get("path") or f"{file.stem}-{number:06d}")
            label = row.get("label")
            read = lambda file=file, number=number: _bytes_of_row(file, number)  # noqa: E731
            yield Picture(path, label if isinstance(label, int) else None, read)


def decoded_image(data: bytes, what: str = "a picture") -> np.ndarray:
    """The pixels of a JPEG or PNG file, uint8 ``[H, W, 3]``.

    Raises:
        DataError: if it is none, or has too many.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels")
            return np.array(image.convert("RGB"))
    except Exception as error:  # Pillow raises many kinds for hostile files
        raise DataError(f"{what} cannot be read: {first_line(error)}") from error


def picture_bytes(file: Path) -> bytes:
    """The bytes of a picture's file.

    Raises:
        DataError: if it cannot be read, or is larger than `MAX_IMAGE_BYTES`.
    """
    try:
        if file.stat().st_size > MAX_IMAGE_BYTES:
            raise DataError(f"{file} is larger than {MAX_IMAGE_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {first_line(error)}") from error


def _bytes_of_row(file: Path, number: int) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            for group in range(table.num_row_groups):
                count = table.metadata.row_group(group).num_rows
                if number < count:
                    column = table.read_row_group(group, columns=["image"]).column("image")
                    value: Any = column[number].as_py()["bytes"]
                    if isinstance(value, bytes):
                        return value
                    break
                number -= count
    except (OSError, LookupError, TypeError, pa.ArrowException) as error:
        raise DataError(f"cannot read {file}: {first_line(error)}") from error
    raise DataError(f"{file} holds no bytes of picture {number}")
