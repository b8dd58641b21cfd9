"""`zfp`: error-bounded transform coding of blocks of 4 by 4 floats."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.bounded.codec import ErrorBoundedCodec
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import pack, plane_shape, unpack
from lamofcbench.scenarios.base import TensorSpec

_HEADER_BYTES = 5
_HEADER_NIBBLE = 0x0F
_BLOCK_BYTES = {1: 18, 2: 67}
"""What a block takes at most: 9 bits of exponent, 32 bit planes of its 4 or 16 values, 3 or 15 tests of their ends."""
_SLACK_BYTES = 64


class ZfpCodec(ErrorBoundedCodec):
    """Codes a tensor's planes, one below the other, with ZFP at fixed accuracy.

    ZFP takes blocks of 4 tokens and 4 channels apart by a lifted transform and codes bit planes down to the tolerance.
    The tolerance holds for each value, apart from rounding of the values that ZFP aligns to a block's largest (about
    ``2**-30`` of it). The error is mostly far below it, because ZFP allows for the worst case.

    Planes are coded in two dimensions: on mini scenarios, at equal squared error, one dimension takes 0.7 to 1.9 bits
    more a value, along tokens or along channels.

    The stream goes without what both sides know: magic number, mode and trailing zeros. The decoder puts its own mode
    in front, and zeros behind, up to the most that the shape can make ZFP read, because the library checks no bounds.
    """

    rate_points = tuple({"tolerance": t} for t in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 48.0, 128.0))
    requires = ("imagecodecs",)
    extra = "image"
    paper = "https://doi.org/10.1109/TVCG.2014.2346458"  # Lindstrom, Fixed-rate compressed floating-point arrays

    def encode_tensor(self, spec: TensorSpec, tensor: Tensor) -> bytes:
        """One stream, or nothing where there are no elements."""
        if not tensor.numel():
            return b""
        planes = pack(tensor.detach().cpu(), spec.role)
        values = np.concatenate([self.scaled(spec.name, plane) for plane in planes])
        return self.compress(values.reshape(_stack_shape(spec, tuple(tensor.shape))))

    def decode_tensor(self, spec: TensorSpec, payload: bytes, shape: tuple[int, ...]) -> Tensor:
        """Values within the tolerance."""
        if not math.prod(shape):
            if payload:
                raise BitstreamError(f"{len(payload)} bytes stand for no elements of tensor {spec.name!r}")
            return self.restored(spec.name, np.empty(shape, np.float32), shape)
        values = self.decompress(payload, _stack_shape(spec, shape))
        height, width = plane_shape(spec.role, shape)
        planes = self.restored(spec.name, values, (math.prod(shape) // (height * width), height, width))
        return unpack(list(planes), spec.role, shape)

    def compress(self, values: NDArray[np.float32]) -> bytes:
        """ZFP's stream without its header."""
        import imagecodecs

        stream = bytes(imagecodecs.zfp_encode(values, 1, mode="accuracy", execution="serial", header=False))
        if stream[:_HEADER_BYTES] != _header()[:_HEADER_BYTES]:
            raise CodecError("ZFP wrote an unexpected header; this version of imagecodecs is not supported")
        return stream[_HEADER_BYTES:].rstrip(b"\0")

    def decompress(self, stream: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The array, after checks that keep the library from reading what is not its own."""
        import imagecodecs

        size = _maximum_bytes(shape) + _SLACK_BYTES
        header = _header()
        if not stream or stream[-1] == 0 or (stream[0] ^ header[_HEADER_BYTES]) & _HEADER_NIBBLE:
            raise BitstreamError("no ZFP stream of this codec")
        if _HEADER_BYTES + len(stream) > size:
            raise BitstreamError(f"{len(stream)} bytes of ZFP are more than shape {list(shape)} can take")
        whole = (header[:_HEADER_BYTES] + stream).ljust(-(-size // 8) * 8, b"\0")
        values: NDArray[np.float32] = imagecodecs.zfp_decode(whole, shape=shape, dtype=np.float32)
        return values


def _stack_shape(spec: TensorSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of all planes one below the other; of one dimension where it is a single row or column."""
    width = plane_shape(spec.role, shape)[1]
    height = math.prod(shape) // width
    return (height * width,) if 1 in (height, width) else (height, width)


def _maximum_bytes(shape: tuple[int, ...]) -> int:
    blocks = math.prod(-(-size // 4) for size in shape)
    return _HEADER_BYTES + 1 + blocks * _BLOCK_BYTES[len(shape)]


def _header() -> bytes:
    """The first bytes of every stream: magic number and mode, 44 bits, so half of the last byte belongs to the data."""
    import imagecodecs

    stream = imagecodecs.zfp_encode(np.zeros(1, np.float32), 1, mode="accuracy", header=False)
    return bytes(stream[: _HEADER_BYTES + 1])
