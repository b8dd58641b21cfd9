"""`identity`: the raw bytes, uncoded. It is the anchor of every curve."""

from __future__ import annotations

import torch
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.features import TORCH_DTYPES
from lamofcbench.scenarios.base import TensorSpec


class IdentityCodec(Codec):
    """Stores each tensor's bytes, little endian, as they are."""

    lossless = True

    def encode_tensor(self, spec: TensorSpec, tensor: Tensor) -> bytes:
        """The tensor's bytes in row-major order."""
        return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()

    def decode_tensor(self, spec: TensorSpec, payload: bytes, shape: tuple[int, ...]) -> Tensor:
        """The tensor whose bytes these are."""
        if not payload:
            return torch.empty(shape, dtype=TORCH_DTYPES[spec.dtype])
        return torch.frombuffer(bytearray(payload), dtype=TORCH_DTYPES[spec.dtype]).reshape(shape)
