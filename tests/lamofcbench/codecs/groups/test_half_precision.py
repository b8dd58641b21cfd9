"""What docstrings say of the range of scales in half precision."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs.registry import CODECS
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

SPECS = FeatureSpecs(
    tensors=(TensorSpec(name="x", role="value", shape=(1, Axis(name="tokens", limit=4096), 64), dtype="float32"),)
)


def decoded(name, values):
    codec = CODECS.get(name)(SPECS, {"bits": 8})
    return codec.decode(codec.encode(FeatureSet({"x": torch.from_numpy(values).float()})))["x"].double().numpy()


@pytest.mark.parametrize("name", ["turboquant", "kivi", "quarot"])
def test_tiny_values_become_zeros_and_values_beyond_half_precision_are_clipped(name):
    values = np.random.default_rng(0).normal(size=(1, 40, 64))
    assert not decoded(name, 5e-9 * values).any()
    for scale in (1e-5, 1e4):
        assert np.square(decoded(name, scale * values) / scale - values).mean() < 1e-3
    root_mean_square = np.sqrt(np.square(decoded(name, 1e6 * values)).mean())
    assert 0.6 * 65504 < root_mean_square < 65504
