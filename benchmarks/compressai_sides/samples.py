"""Made-up samples of the shapes that the comparison of speed and memory codes, float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import FeatureSpecs, TensorSpec

LAYOUTS: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "caches": {
        "key.0": ("key", (8, 256, 128)),
        "value.0": ("value", (8, 256, 128)),
        "hidden": ("hidden", (256, 4096)),
    },
    "states": {"ssm_state.0": ("ssm_state", (8192, 16)), "conv_state.0": ("conv_state", (8192, 4))},
    "pooled": {"clip_l.pooled": ("pooled", (768,)), "clip_g.pooled": ("pooled", (1280,))},
    "mixed": {
        "key.0": ("key", (8, 64, 128)),
        "ssm_state.0": ("ssm_state", (1024, 16)),
        "hidden": ("hidden", (64, 1024)),
    },
    "vit": {"block.9": ("hidden", (1029, 4096)), "block.39": ("hidden", (1029, 4096))},
}
"""Tensor name to role and shape: a layer of Qwen3's caches and its hidden states, a layer of Falcon-Mamba's states,
the pooled embeddings of SD3.5, some of each, and DINOv3's two levels (34 MB)."""


def specs_of(layout: str) -> FeatureSpecs:
    """The specs of a layout."""
    tensors = [
        TensorSpec(name=name, role=role, shape=shape, dtype="float32")
        for name, (role, shape) in LAYOUTS[layout].items()
    ]
    return FeatureSpecs(tensors=tuple(tensors))


def made_up_features(layout: str, seed: int) -> FeatureSet:
    """Gaussian values that change slowly from token to token, with channel scales of their own, two of them large."""
    random = np.random.default_rng(seed)
    tensors = {}
    for spec in specs_of(layout).tensors:
        shape = tuple(int(size) for size in spec.shape)
        scales = np.exp(random.normal(0, 0.6, shape[-1]))
        if len(shape) > 1 and spec.role == "hidden":
            scales[[3, shape[-1] // 2]] *= 100
        values = random.standard_normal(shape)
        if len(shape) > 1:
            values[..., 1:, :] = 0.7 * values[..., :-1, :] + 0.7 * values[..., 1:, :]
        tensors[spec.name] = torch.from_numpy((values * scales).astype(np.float32))
    return FeatureSet(tensors)


def write_features(layout: str, seed: int, path: Path) -> float:
    """Writes features as safetensors; returns their size in megabytes."""
    features = made_up_features(layout, seed)
    save_file(dict(features.tensors), path)
    return features.raw_bits / 8e6
