"""Distortion: how far decoded features are from the originals."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lamofcbench.features import FeatureSet

CHUNK_ELEMENTS = 2**18
"""Bounds the float64 copies, and fixes the order of summation whatever the machine and its threads."""


def squared_error(original: Tensor, decoded: Tensor) -> float:
    """The sum of squared differences, in float64 and a fixed order; NaN where a value or difference is not finite.

    Args:
        original: any shape and floating dtype.
        decoded: the same shape; compared as stored, in its own dtype.

    Example:
        >>> squared_error(torch.zeros(2, 2), torch.full((2, 2), 0.5, dtype=torch.bfloat16))
        1.0
    """
    if original.shape != decoded.shape:
        raise ValueError(f"shapes differ: {list(original.shape)} and {list(decoded.shape)}")
    sums = []
    a, b = original.detach().cpu().reshape(-1), decoded.detach().cpu().reshape(-1)
    for start in range(0, a.numel(), CHUNK_ELEMENTS):
        difference = _float64(a[start : start + CHUNK_ELEMENTS])
        with np.errstate(invalid="ignore", over="ignore"):
            difference = difference - _float64(b[start : start + CHUNK_ELEMENTS])
            sums.append(float(np.add.reduce(difference * difference)))
    return math.fsum(sums) if all(map(math.isfinite, sums)) else math.nan


def _float64(values: Tensor) -> np.ndarray:
    return values.to(torch.float64).numpy()


def squared_errors(original: FeatureSet, decoded: FeatureSet) -> dict[str, float]:
    """`squared_error` of each tensor, by name."""
    return {name: squared_error(tensor, decoded[name]) for name, tensor in original.tensors.items()}
