"""What codecs measure on calibration samples: sums in float64 and fixed order, on the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec


def as_float32(tensor: Tensor) -> NDArray[np.float32]:
    """The values as float32, which holds every stored dtype exactly; a view of a float32 tensor, so read only."""
    array: NDArray[np.float32] = tensor.detach().cpu().contiguous().to(torch.float32).numpy()
    return array


def as_tensor(values: NDArray[np.float64], shape: tuple[int, ...]) -> Tensor:
    """Decoded values as float32; what lies beyond its range becomes its largest value, never infinity."""
    largest = np.finfo(np.float32).max
    return torch.from_numpy(np.clip(values, -largest, largest, out=values).astype(np.float32).reshape(shape))


def ragged_dims(spec: TensorSpec) -> tuple[int, ...]:
    """The positions of a tensor's ragged axes."""
    return tuple(i for i, axis in enumerate(spec.shape) if isinstance(axis, Axis))


def channel_dims(spec: TensorSpec) -> tuple[int, ...]:
    """The positions of the axes that statistics are kept for.

    The feature axis of hidden states and embeddings, head and feature of keys and values, every entry of a state, the
    tile of a latent; the last axis of any other role. A ragged axis has no statistics of its own.
    """
    rank = len(spec.shape)
    dims: tuple[int, ...] = {
        "key": (rank - 3, rank - 1),
        "value": (rank - 3, rank - 1),
        "ssm_state": (rank - 2, rank - 1),
        "conv_state": (rank - 2, rank - 1),
        "latent": (rank - 3,),
    }.get(spec.role, (rank - 1,))
    ragged = ragged_dims(spec)
    return tuple(d for d in dims if d >= 0 and d not in ragged)


@dataclass
class Moments:
    """Count, mean and standard deviation of a tensor name over calibration samples.

    Attributes:
        count: how many values went into each mean.
        mean: float64, in the tensor's shape with every reduced axis of size 1.
        std: likewise.
    """

    count: int
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def measure(
    calibration: Iterable[FeatureSet], specs: FeatureSpecs, kept: dict[str, tuple[int, ...]]
) -> dict[str, Moments]:
    """Moments of every tensor name.

    Args:
        calibration: the samples.
        specs: of the tensors.
        kept: for each tensor name the axes that are not reduced; none of them ragged.

    Returns:
        Zero mean and deviation where all calibration samples are empty.
    """
    reduced, shapes, counts, sums, squares = {}, {}, {}, {}, {}
    for spec in specs.tensors:
        reduced[spec.name] = tuple(d for d in range(len(spec.shape)) if d not in kept[spec.name])
        shapes[spec.name] = tuple(_fixed(spec, d) if d in kept[spec.name] else 1 for d in range(len(spec.shape)))
        counts[spec.name] = 0
        sums[spec.name], squares[spec.name] = np.zeros(shapes[spec.name]), np.zeros(shapes[spec.name])
    for features in calibration:
        for name, tensor in features.tensors.items():
            values = as_float32(tensor).astype(np.float64)
            counts[name] += values.size // max(sums[name].size, 1)
            sums[name] += values.sum(axis=reduced[name], keepdims=True)
            squares[name] += np.square(values, out=values).sum(axis=reduced[name], keepdims=True)
    moments = {}
    for name, count in counts.items():
        mean = np.asarray(sums[name] / max(count, 1))
        variance = squares[name] / max(count, 1) - mean**2
        # What is left of a constant's variance after rounding is no variance.
        variance = np.where(variance < 1e-13 * mean**2, 0.0, variance)
        moments[name] = Moments(count, mean, np.asarray(np.sqrt(variance)))
    return moments


def quantiser_step(factor: float, deviation: float, constant: float = 0.0) -> float:
    """The step of a quantiser: a factor times a standard deviation.

    Args:
        factor: what the user asks for.
        deviation: the standard deviation; zero for a tensor that does not vary or was not seen.
        constant: the value of a tensor that does not vary; as the step it is kept exactly by the coarsest quantiser.
    """
    step = factor * deviation if deviation > 0 else abs(constant) or factor
    return float(max(step, np.finfo(np.float64).tiny))


def _fixed(spec: TensorSpec, dim: int) -> int:
    size = spec.shape[dim]
    assert isinstance(size, int)  # the caller keeps no ragged axis
    return size
