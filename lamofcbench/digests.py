"""Digests of feature sets: two are equal where dtypes, shapes, every bit and the side information are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from torch import Tensor

from lamofcbench.features import FeatureSet, tensor_bytes


def tensor_digest(tensor: Tensor) -> str:
    """Hex sha256 of a tensor's dtype, shape and bits.

    Example:
        >>> import torch
        >>> tensor_digest(torch.tensor([0.0])) == tensor_digest(torch.tensor([-0.0]))
        False
    """
    state = hashlib.sha256(f"{tensor.dtype}{list(tensor.shape)}".encode())
    state.update(tensor_bytes(tensor))
    return state.hexdigest()


def tensor_digests(features: FeatureSet) -> dict[str, str]:
    """`tensor_digest` of each tensor, by name, in their order."""
    return {name: tensor_digest(tensor) for name, tensor in features.tensors.items()}


def digest(features: FeatureSet) -> str:
    """Hex sha256 of a feature set: its tensors with their names and order, and its side information."""
    return combined(tensor_digests(features), features.side)


def combined(digests: Mapping[str, str], side: Mapping[str, int]) -> str:
    """`digest` of a feature set whose `tensor_digests` are known.

    Args:
        digests: by tensor name, in the order of the set.
        side: its side information.
    """
    return hashlib.sha256(json.dumps([list(digests.items()), sorted(side.items())]).encode()).hexdigest()
