"""How trained weights are stored: in as few bits as they may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from lamofcbench.codecs.learned.checkpoints import SQUARE_SUFFIX
from lamofcbench.codecs.learned.entropy_models import TABLE_BUFFERS

StorageFormat = Literal["int8", "fp16", "fp32"]

FORMATS: tuple[StorageFormat, ...] = ("int8", "fp16", "fp32")
"""From the smallest."""
_LEAST_INT8_ELEMENTS = 4096  # smaller tensors are not worth 8 bits


def compact(state: Mapping[str, Tensor], storage: StorageFormat) -> dict[str, Tensor]:
    """A network's state dict as it is stored; `lamofcbench.codecs.learned.checkpoints` reads it back.

    Entropy tables and checkerboard masks are left out, since loading makes them anew.

    Args:
        state: float32 weights.
        storage: ``int8`` for large kernels and float16 for the rest, or one dtype for all. Scalars and quantiles stay
            float32, which costs nothing.
    """
    stored: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.rpartition(".")[2] in (*TABLE_BUFFERS, "scale_table", "mask"):
            continue
        if storage == "int8" and value.dim() == 4 and value.numel() >= _LEAST_INT8_ELEMENTS:
            scale = (value.abs().amax((1, 2, 3), keepdim=True) / 127**2).clamp(min=torch.finfo(torch.float32).tiny)
            stored[name] = torch.round((value.abs() / scale).sqrt().copysign(value)).to(torch.int8)
            stored[name + SQUARE_SUFFIX] = scale
        elif storage == "fp32" or value.numel() == 1 or name.endswith("quantiles"):
            stored[name] = value.float()
        else:
            stored[name] = value.half()
    return stored
