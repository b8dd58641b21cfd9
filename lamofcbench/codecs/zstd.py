"""`zstd`: lossless general-purpose compression of byte planes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.errors import BitstreamError
from lamofcbench.features import TORCH_DTYPES, FeatureSet, tensor_bytes

MAX_WINDOW_BYTES = 2**27
"""What the strongest level uses; a frame that asks for more memory is refused."""
BLOCK_BYTES, LEAST_BLOCK_BYTES = 2**17, 4
"""What a block holds at most, and takes at least: its header and the byte that it repeats (RFC 8878, 3.1.1.2)."""


@dataclass(frozen=True)
class ZstdParams:
    """Parameters of `ZstdCodec`.

    Attributes:
        level: compression level of zstd, 1 to 22. Features hardly repeat themselves, so the longer searches of higher
            levels find only short matches that cost more than they save: level 1 is the fastest and most often the
            smallest.
    """

    level: Annotated[int, Field(ge=1, le=22)] = 1


class ZstdCodec(Codec):
    """Splits each tensor into planes, byte 0 of all elements, then byte 1 and so on, and compresses the planes.

    All planes go into one frame, a block to each plane: on samples of a few kilobytes this is 5 to 15 % smaller than
    letting zstd choose the blocks, because sign and exponent bytes then have a Huffman table of their own, and 10 bytes
    a tensor smaller than a frame each. Sizes and checksums, which the container has, are left out of the frame.
    """

    Params = ZstdParams
    lossless = True
    paper = "https://www.rfc-editor.org/rfc/rfc8878"

    def encode_features(self, features: FeatureSet) -> bytes:
        """One frame without magic number, or nothing where there are no elements."""
        if not features.elements:
            return b""
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self.params.level,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=False,
            write_checksum=False,
            write_dict_id=False,
            threads=0,
        )
        stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        parts = []
        for tensor in features.tensors.values():
            for plane in _planes(tensor):
                parts += [stream.compress(plane), stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
        return b"".join([*parts, stream.flush()])

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """The tensors, every bit as it was."""
        sizes = {name: math.prod(shape) * self.specs[name].bits // 8 for name, shape in shapes.items()}
        data = _decompress(payload, sum(sizes.values()))
        tensors, start = {}, 0
        for name, shape in shapes.items():
            tensors[name] = torch.empty(shape, dtype=TORCH_DTYPES[self.specs[name].dtype])
            if sizes[name]:
                elements = tensors[name].reshape(-1).view(torch.uint8).numpy().reshape(-1, self.specs[name].bits // 8)
                elements[...] = data[start : start + sizes[name]].reshape(elements.shape[::-1]).T
            start += sizes[name]
        return tensors


def _planes(tensor: Tensor) -> Iterator[bytes]:
    if not tensor.numel():
        return
    elements = np.frombuffer(tensor_bytes(tensor), np.uint8).reshape(-1, tensor.element_size())
    for position in range(tensor.element_size()):
        yield elements[:, position].tobytes()


def _decompress(payload: bytes, size: int) -> NDArray[np.uint8]:
    """Exactly ``size`` bytes; no more are ever allocated, whatever the frame claims."""
    if not size:
        if payload:
            raise BitstreamError(f"{len(payload)} bytes stand for no elements")
        return np.empty(0, np.uint8)
    if len(payload) < -(-size // BLOCK_BYTES) * LEAST_BLOCK_BYTES:
        raise BitstreamError(f"{len(payload)} bytes of zstd cannot hold {size}")
    frame = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS, max_window_size=MAX_WINDOW_BYTES)
    try:
        claimed = zstandard.get_frame_parameters(payload, format=zstandard.FORMAT_ZSTD1_MAGICLESS).content_size
        if claimed not in (zstandard.CONTENTSIZE_UNKNOWN, size):
            raise BitstreamError(f"zstd frame claims {claimed} bytes; the shapes need {size}")
        data = frame.decompress(payload, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise BitstreamError(f"zstd cannot decompress: {error}") from error
    if len(data) != size:
        raise BitstreamError(f"zstd frame holds {len(data)} bytes; the shapes need {size}")
    return np.frombuffer(data, np.uint8)
