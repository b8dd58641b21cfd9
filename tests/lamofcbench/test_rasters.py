import io
import math
import struct
import zlib

import numpy as np
import pytest

from lamofcbench import rasters
from lamofcbench.errors import DataError


@pytest.mark.parametrize("mask", [np.eye(3, dtype=np.uint8), np.array([[0, 65535], [256, 1]])])
def test_masks_come_back_as_they_went_in(mask):
    assert np.array_equal(rasters.decode_png(rasters.encode_mask(mask)), mask)


def test_maps_are_stored_in_half_precision_and_overflow_to_infinity():
    restored = rasters.decode_map(rasters.encode_map(np.array([1 / 3, 1e9])))
    assert restored.dtype == np.float16
    assert restored[0] == np.float16(1 / 3) and math.isinf(restored[1])


def test_a_map_that_claims_terabytes_is_refused_before_allocating():
    head = b"FMAP" + struct.pack("<B3I", 3, 2**20, 2**20, 2**10)
    with pytest.raises(DataError, match="sizes do not agree"):
        rasters.decode_map(head + rasters.encode_map(np.zeros(4))[9:])


def test_a_png_that_claims_gigapixels_is_refused_before_allocating():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    png = b"\x89PNG\r\n\x1a\n" + chunks
    with pytest.raises(DataError, match="PNG"):
        rasters.decode_png(png)


def test_other_image_formats_are_not_opened():
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(buffer, format="BMP")
    with pytest.raises(DataError, match="damaged"):
        rasters.decode_png(buffer.getvalue())


def test_a_mask_is_grey_and_an_image_is_not():
    grey = rasters.encode_mask(np.eye(2, dtype=np.uint8))
    colour = rasters.encode_image(np.zeros((2, 2, 3), dtype=np.uint8))
    assert rasters.decode_mask(grey).shape == (2, 2) and rasters.decode_image(colour).shape == (2, 2, 3)
    with pytest.raises(DataError, match="PNG in colour"):
        rasters.decode_mask(colour)
    with pytest.raises(DataError, match="grey PNG"):
        rasters.decode_image(grey)
