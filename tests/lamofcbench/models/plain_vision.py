"""What vision heads are made of, written out as loops over pixels in float64: nothing of torch decides a value here.

Maps are arrays ``[C, h, w]``; tokens are ``[T, C]``. Parameters come from a state dict by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

Weights = Mapping[str, np.ndarray]


def weights_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """A module's parameters and buffers in float64."""
    return {name: tensor.detach().double().numpy() for name, tensor in module.state_dict().items()}


def under(weights: Weights, prefix: str) -> dict[str, np.ndarray]:
    """The weights whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def linear(values: np.ndarray, weights: Weights) -> np.ndarray:
    """Of the last axis."""
    return values @ weights["weight"].T + weights["bias"]


def layer_norm(tokens: np.ndarray, weights: Weights, eps: float = 1e-5) -> np.ndarray:
    centred = tokens - tokens.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weights["weight"] + weights["bias"]


def batch_norm(values: np.ndarray, weights: Weights) -> np.ndarray:
    scale = weights["weight"] / np.sqrt(weights["running_var"] + 1e-5)
    return (values - weights["running_mean"][:, None, None]) * scale[:, None, None] + weights["bias"][:, None, None]


def group_norm(values: np.ndarray, weights: Weights, groups: int) -> np.ndarray:
    grouped = values.reshape(groups, -1)
    centred = grouped - grouped.mean(1, keepdims=True)
    normal = (centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)).reshape(values.shape)
    return normal * weights["weight"][:, None, None] + weights["bias"][:, None, None]


def convolution(values: np.ndarray, weights: Weights, stride: int = 1) -> np.ndarray:
    """An odd square kernel, padded by zeros so that stride 1 keeps the size; depthwise where it has one input."""
    kernel = weights["weight"]
    side = kernel.shape[-1]
    padded = np.pad(values, ((0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    rows, columns = ((length - 1) // stride + 1 for length in values.shape[1:])
    result = np.zeros((len(kernel), rows, columns))
    for row in range(rows):
        for column in range(columns):
            patch = padded[:, row * stride : row * stride + side, column * stride : column * stride + side]
            if kernel.shape[1] == 1 < len(values):
                result[:, row, column] = (kernel[:, 0] * patch).sum((1, 2))
            else:
                result[:, row, column] = (kernel * patch[None]).sum((1, 2, 3))
    return result + weights["bias"][:, None, None] if "bias" in weights else result


def spread(values: np.ndarray, weights: Weights) -> np.ndarray:
    """A transposed convolution whose kernel is as wide as its stride: each pixel becomes a square of its own."""
    kernel = weights["weight"]  # [inputs, outputs, side, side]
    side = kernel.shape[-1]
    rows, columns = values.shape[1:]
    result = np.zeros((kernel.shape[1], rows * side, columns * side))
    for row in range(rows):
        for column in range(columns):
            square = (values[:, row, column][:, None, None, None] * kernel).sum(0)
            result[:, row * side : (row + 1) * side, column * side : (column + 1) * side] = square
    return result + weights["bias"][:, None, None]


def bilinear(values: np.ndarray, size: tuple[int, int], *, corners_aligned: bool = False) -> np.ndarray:
    """A map at another size."""
    result = np.zeros((len(values), *size))
    for row in range(size[0]):
        for column in range(size[1]):
            places = []
            for index, new, old in zip((row, column), size, values.shape[1:], strict=True):
                if corners_aligned:
                    place = index * (old - 1) / (new - 1) if new > 1 else 0.0
                else:
                    place = max((index + 0.5) * old / new - 0.5, 0.0)
                low = min(math.floor(place), old - 1)
                places.append((low, min(low + 1, old - 1), place - low))
            (top, bottom, down), (left, right, along) = places
            upper = values[:, top, left] * (1 - along) + values[:, top, right] * along
            lower = values[:, bottom, left] * (1 - along) + values[:, bottom, right] * along
            result[:, row, column] = upper * (1 - down) + lower * down
    return result


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return (1 + np.tanh(values / 2)) / 2


def relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def gelu(values: np.ndarray) -> np.ndarray:
    return values * 0.5 * (1 + np.vectorize(math.erf)(values / math.sqrt(2)))
