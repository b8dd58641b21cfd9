"""`identity`: the raw bytes, uncoded. It is the anchor of every curve."""

from __future__ import annotations

import torch
from torch import Tensor

from lamofcbench.codecs.base import Codec
from lamofcbench.errors import BitstreamError
from lamofcbench.features import TORCH_DTYPES, tensor_bytes
from lamofcbench.scenarios.base import TensorSpec


class IdentityCodec(Codec):
    """Stores each tensor's bytes, little endian, as they are."""

    lossless = True

    def encode_tensor(self, spec: TensorSpec, tensor: Tensor) -> bytes:
        """The tensor's bytes in row-major order."""
        return tensor_bytes(tensor)

    def decode_tensor(self, spec: TensorSpec, payload: bytes, shape: tuple[int, ...]) -> Tensor:
        """The tensor whose bytes these are."""
        flat = torch.empty(0, dtype=TORCH_DTYPES[spec.dtype])
        if payload:
            flat = torch.frombuffer(bytearray(payload), dtype=flat.dtype)
        if flat.numel() != torch.Size(shape).numel():
            raise BitstreamError(f"{len(payload)} bytes of tensor {spec.name!r} do not fill its shape {list(shape)}")
        return flat.reshape(shape)
