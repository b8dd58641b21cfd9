"""`sz3`: error-bounded prediction of floats from their neighbours, with quantised and Huffman-coded differences.

The native decoder trusts its input: changing a few bytes of a stream crashes it more often than not. A bitstream may
come from a stranger, whose checksum fits, so another process decodes, with bounds on time and memory, and is replaced
when it crashes, which then is a `BitstreamError`. This protects the caller from crashes and from running out of memory
or time. It is no sandbox against code that a stream might smuggle in: decode bitstreams of this codec that come from
people you do not trust inside one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.codecs.bounded.codec import ErrorBoundedCodec, ToleranceParams
from lamofcbench.codecs.bounded.sz3_process import decode_elsewhere
from lamofcbench.errors import BitstreamError
from lamofcbench.features import FeatureSet, pack, plane_shape, unpack

_LENGTH_BYTES = 4
_MAX_SCALED = 2.0**100
"""Scaled values beyond this are clipped, so that no prediction overflows."""


@dataclass(frozen=True)
class Sz3Params(ToleranceParams):
    """Parameters of `Sz3Codec`.

    Attributes:
        dims: 1 to code all tensors as one sequence, channel by channel, so that a value's neighbours are the same
            channel's values for other tokens; 2 to code planes, those of one width below each other.
    """

    dims: Literal[1, 2] = 1


class Sz3Codec(ErrorBoundedCodec):
    """Codes scaled values with SZ3, its choice of predictor and its entropy coding as they are.

    The tolerance holds for each value, apart from rounding to float32 of values more than a million tolerances large.

    SZ3 stores some 60 bytes of header and a Huffman table with each array, which on small tensors is most of the rate.
    Scaling by the tolerance gives all tensors the same bound, so they are joined. On mini scenarios, at about equal
    squared error, one sequence takes 8 to 32 % less than one a tensor, along tokens up to 31 % less than along
    channels, whose order means nothing, and 12 to 22 % less than planes joined by width. Latents, which have
    neighbours in two dimensions, may prefer planes.
    """

    Params = Sz3Params
    rate_points = tuple({"tolerance": t} for t in (0.1, 0.2, 0.4, 0.7, 1.0, 1.6, 3.0, 6.0))
    requires = ("imagecodecs",)
    extra = "image"
    paper = "https://arxiv.org/abs/2111.02925"  # Liang et al., SZ3: A modular framework

    @classmethod
    def unavailable(cls) -> str | None:
        """Also where processes cannot fork."""
        if not hasattr(os, "fork"):
            return f"codec {cls.name!r} decodes in forked processes, which this system has not; use Linux or macOS"
        return super().unavailable()

    def encode_features(self, features: FeatureSet) -> bytes:
        """SZ3's streams, each but the last behind its length."""
        shapes = {name: tuple(tensor.shape) for name, tensor in features.tensors.items()}
        arrays = {name: self._scaled_planes(name, tensor) for name, tensor in features.tensors.items()}
        streams = []
        for names, shape in self._stacks(shapes):
            parts = [arrays[name].T if self.params.dims == 1 else arrays[name] for name in names]
            streams.append(self.compress(np.concatenate([part.reshape(-1) for part in parts]).reshape(shape)))
        lengths = [len(stream).to_bytes(_LENGTH_BYTES, "little") for stream in streams[:-1]] + [b""]
        return b"".join(part for pair in zip(lengths, streams, strict=False) for part in pair)

    def decode_features(self, payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """Values within the tolerances."""
        tensors = {n: self.restored(n, np.empty(s, np.float32), s) for n, s in shapes.items() if not math.prod(s)}
        stacks = self._stacks(shapes)
        for index, (names, shape) in enumerate(stacks):
            length = len(payload)
            if index < len(stacks) - 1:
                length = int.from_bytes(payload[:_LENGTH_BYTES], "little")
                payload = payload[_LENGTH_BYTES:]
            if not 0 < length <= len(payload):
                raise BitstreamError("an SZ3 stream is longer than the bitstream, or empty")
            values = self.decompress(payload[:length], shape).reshape(-1)
            payload = payload[length:]
            for name in names:
                count = math.prod(shapes[name])
                tensors[name] = self._from_planes(name, values[:count], shapes[name])
                values = values[count:]
        if payload:
            raise BitstreamError(f"{len(payload)} bytes behind the last SZ3 stream")
        return tensors

    def _stacks(self, shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[list[str], tuple[int, ...]]]:
        """Which tensors are coded as one array, and the shape of that array."""
        filled = [name for name, shape in shapes.items() if math.prod(shape)]
        if self.params.dims == 1:
            return [(filled, (sum(math.prod(shapes[name]) for name in filled),))] if filled else []
        by_width: dict[int, list[str]] = {}
        for name in filled:
            by_width.setdefault(plane_shape(self.specs[name].role, shapes[name])[1], []).append(name)
        return [(names, (sum(math.prod(shapes[n]) for n in names) // w, w)) for w, names in by_width.items()]

    def _scaled_planes(self, name: str, tensor: Tensor) -> NDArray[np.float32]:
        """All planes of a tensor, one below the other."""
        if not tensor.numel():
            return np.empty((0, 0), np.float32)
        planes = [self.scaled(name, plane) for plane in pack(tensor.detach().cpu(), self.specs[name].role)]
        return np.clip(np.concatenate(planes), -_MAX_SCALED, _MAX_SCALED)

    def _from_planes(self, name: str, values: NDArray[np.float32], shape: tuple[int, ...]) -> Tensor:
        role = self.specs[name].role
        height, width = plane_shape(role, shape)
        if self.params.dims == 1:
            values = values.reshape(width, -1).T
        planes = self.restored(name, values, (values.size // (height * width), height, width))
        return unpack(list(planes), role, shape)

    def compress(self, values: NDArray[np.float32]) -> bytes:
        """SZ3's stream as it is."""
        import imagecodecs

        return bytes(imagecodecs.sz3_encode(values, mode="abs", abs=1.0))

    def decompress(self, stream: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The array, decoded by another process."""
        return decode_elsewhere(stream, shape)
