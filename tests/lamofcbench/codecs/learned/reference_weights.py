"""Weights of a learned codec made from their names alone, the same on every machine and for every library version.

The fixtures in `reference/` hold what CompressAI 1.2.8 computes with such weights; storing the weights too would take
megabytes. All values are integers over a power of two, from numpy's frozen `RandomState`, so no rounding is involved.
`benchmarks/compressai_comparison.py` makes the fixtures and uses the same weights at the published widths.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

MADE_SUFFIXES = ("weight", "bias", "beta", "gamma", "quantiles")
"""Last parts of the names of what is made; all other tensors are constants or tables that follow from these."""


def made_from_name(name: str) -> bool:
    """Whether a tensor of a state dict is a weight that `reference_weight` makes."""
    parts = name.split(".")
    return parts[-1] in MADE_SUFFIXES or (len(parts) > 1 and parts[-2] in ("matrices", "biases", "factors"))


def reference_weight(name: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """The weight of this name and shape, float32.

    Example:
        >>> reference_weight("g_a.0.bias", (3,))
        tensor([-0.0001, -0.0007,  0.0012])
    """
    random = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    unit = torch.from_numpy(random.randint(-(2**12), 2**12 + 1, shape, np.int32).astype(np.float32)) / 2**12
    parts = name.split(".")
    kind = parts[-2] if parts[-2] in ("matrices", "biases", "factors") else parts[-1]
    if kind == "weight":
        return unit * _power_of_two_near((3 / _fan_in(name, shape)) ** 0.5)
    if kind == "bias":
        return unit / 64
    if kind == "beta":
        return 1 + unit / 8
    if kind == "gamma":
        return torch.eye(len(unit)) * 0.25 + unit.abs() / 16
    if kind == "matrices":  # softplus of these makes the cumulative distribution about twenty wide
        return unit / 8 - (0.125 if shape[-2] == 1 else 1.4375)
    if kind == "factors":
        return unit / 4
    if kind == "quantiles":
        return torch.tensor([-10.0, 0.0, 10.0]) + unit / 2
    return unit / 8  # biases of the factorised distribution


def reference_state(
    shapes: Mapping[str, tuple[int, ...]], gains: Mapping[str, float], overrides: Mapping[str, Tensor], seed: int = 0
) -> dict[str, Tensor]:
    """All made weights of a network.

    Args:
        shapes: name to shape of the whole state dict; constants and tables in it are passed over.
        gains: name to a power of two that the weight is multiplied by.
        overrides: weights taken as they are.
    """
    made = {n: reference_weight(n, shape, seed) * gains.get(n, 1.0) for n, shape in shapes.items() if made_from_name(n)}
    return {**made, **overrides}


def reference_planes(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Planes of indices / 256 with smooth and rough parts, float32 ``[count, 1, height, width]``.

    Example:
        >>> (reference_planes(1, 2, 3) * 256).int().flatten().tolist()
        [111, 114, 114, 56, 130, 68]
    """
    random = np.random.RandomState(seed)
    blocks = random.randint(0, 160, (count, 1, -(-height // 16), -(-width // 16)), np.int32)
    base = blocks.repeat(16, 2).repeat(16, 3)
    indices = base[:, :, :height, :width] + random.randint(0, 96, (count, 1, height, width), np.int32)
    return torch.from_numpy(indices.astype(np.float32)) / 256


def _fan_in(name: str, shape: tuple[int, ...]) -> float:
    """Inputs that a value of a convolution's output sums over, or about as many for a transposed one."""
    if len(shape) != 4:
        return float(shape[-1])
    transposed = name.removeprefix("latent_codec.hyper.").startswith(("g_s", "h_s")) and shape[2] == 5
    return shape[0] * shape[2] * shape[3] / 4 if transposed else float(shape[1] * shape[2] * shape[3])


def _power_of_two_near(value: float) -> float:
    """The largest power of two not above a value."""
    return float(2.0 ** (np.frexp(value)[1] - 1))
