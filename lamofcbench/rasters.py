"""Masks, images and maps as bytes: small files that cannot run code, checked when they are read.

References in a dataset and predictions in a result folder are stored this way.
"""

from __future__ import annotations

import io
import math
import struct

import numpy as np
import zstandard

from lamofcbench.errors import DataError

MAX_PIXELS = 2**26
MAX_MAP_BYTES = 2**29
MAX_MAP_AXES = 8
_MAP_MAGIC = b"FMAP"


def encode_mask(mask: np.ndarray) -> bytes:
    """A mask of classes, ``[h, w]``, as a grey PNG of 8 bits, or 16 where a class is above 255."""
    if mask.dtype.kind not in "uib":
        raise TypeError(f"a mask holds whole numbers, not {mask.dtype}")
    if mask.size and (mask.min() < 0 or mask.max() > 65535):
        raise ValueError("a mask's classes are 0 to 65535")
    return _png(mask.astype(np.uint8 if not mask.size or mask.max() <= 255 else np.uint16))


def encode_image(image: np.ndarray) -> bytes:
    """An RGB image, uint8 ``[h, w, 3]``, as a PNG."""
    if image.dtype != np.uint8 or image.shape[-1] != 3:
        raise TypeError(f"an image is uint8 [h, w, 3], not {image.dtype} {list(image.shape)}")
    return _png(image)


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    if not 0 < pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS:
        raise ValueError(f"{list(pixels.shape)} holds no pixel or more than {MAX_PIXELS}")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    """The pixels of a PNG: ``[h, w]`` uint8 or uint16 for a grey one, ``[h, w, 3]`` uint8 otherwise.

    Raises:
        DataError: if the bytes are no PNG, are damaged, or hold more than `MAX_PIXELS`.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:  # reads the header only
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"stored PNG has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read")
            if image.mode == "L":
                return np.array(image)
            if image.mode.startswith("I"):
                return np.array(image).astype(np.uint16)
            return np.array(image.convert("RGB"))
    except DataError:
        raise
    except Exception as error:  # Pillow raises many kinds for hostile files
        raise DataError(f"stored PNG is damaged: {type(error).__name__}: {error}") from error


def decode_mask(data: bytes) -> np.ndarray:
    """The classes, ``[h, w]``, that `encode_mask` stored.

    Raises:
        DataError: as `decode_png`, and if the PNG is not grey.
    """
    pixels = decode_png(data)
    if pixels.ndim != 2:
        raise DataError("stored mask is a PNG in colour; a mask is a grey one, see lamofcbench.rasters.encode_mask")
    return pixels


def decode_image(data: bytes) -> np.ndarray:
    """The RGB image, uint8 ``[h, w, 3]``, that `encode_image` stored.

    Raises:
        DataError: as `decode_png`, and if the PNG is grey.
    """
    pixels = decode_png(data)
    if pixels.ndim != 3:
        raise DataError("stored image is a grey PNG; an image has colours, see lamofcbench.rasters.encode_image")
    return pixels


def encode_map(values: np.ndarray) -> bytes:
    """A map of real numbers as compressed fp16: magic, number of axes, sizes (uint32 each), a zstd frame."""
    if values.dtype.kind not in "fui":
        raise TypeError(f"a map holds real numbers, not {values.dtype}")
    if values.ndim > MAX_MAP_AXES or 2 * values.size > MAX_MAP_BYTES:
        raise ValueError(f"{list(values.shape)} is too large for a map")
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(values, dtype="<f2")
    head = _MAP_MAGIC + struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
    return head + zstandard.ZstdCompressor(level=3).compress(half.tobytes())


def decode_map(data: bytes) -> np.ndarray:
    """The map, float16, that `encode_map` stored.

    Raises:
        DataError: if the bytes are damaged or claim more than `MAX_MAP_BYTES`.
    """
    try:
        if data[:4] != _MAP_MAGIC or data[4] > MAX_MAP_AXES:
            raise ValueError("not a map")
        shape = struct.unpack_from(f"<{data[4]}I", data, 5)
        size = 2 * math.prod(shape)
        frame = data[5 + 4 * data[4] :]
        if size > MAX_MAP_BYTES or zstandard.frame_content_size(frame) != size:
            raise ValueError("its sizes do not agree")
        raw = zstandard.ZstdDecompressor().decompress(frame) if size else b""
        return np.frombuffer(raw, dtype="<f2").reshape(shape)
    except (ValueError, IndexError, struct.error, zstandard.ZstdError) as error:
        raise DataError(f"stored map is damaged: {error}") from error
