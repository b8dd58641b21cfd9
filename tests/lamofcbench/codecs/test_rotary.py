"""Keys are turned back by their positions, whatever finite values they hold and however long they are."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs import rotary
from lamofcbench.codecs.registry import CODECS
from lamofcbench.codecs.rotary import with_positions, without_positions
from lamofcbench.features import TORCH_DTYPES, FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

BASE = 1e4
T = Axis(name="tokens", limit=1000)


def keys(tokens, dtype=torch.float32, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(2, tokens, 32))).to(dtype)


@pytest.mark.parametrize("turned", [with_positions, without_positions])
def test_the_largest_values_stay_finite(turned):
    largest = np.full((1, 9, 4), np.finfo(np.float32).max, np.float32) * np.float32([1, -1, -1, 1])
    assert np.isfinite(turned(largest, BASE)).all() and np.isfinite(turned(-largest, BASE)).all()


@pytest.mark.parametrize("name", ["klt", "kvtc"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_keys_near_the_largest_value_are_coded(name, dtype):
    spec = TensorSpec(name="key.0", role="key", shape=(2, T, 32), dtype=dtype, rotary_base=BASE)
    calibration = [FeatureSet({"key.0": keys(40, TORCH_DTYPES[dtype], seed)}) for seed in range(5)]
    codec = CODECS.get(name)(FeatureSpecs(tensors=(spec,)), {}).fit(calibration)
    extreme = keys(20, TORCH_DTYPES[dtype], seed=9)
    extreme[:, 5], extreme[:, 6] = torch.finfo(extreme.dtype).max, torch.finfo(extreme.dtype).min
    decoded = codec.decode(codec.encode(FeatureSet({"key.0": extreme})))
    assert torch.isfinite(decoded["key.0"]).all()


def test_layers_of_a_sample_share_their_angles_and_those_of_other_lengths_are_forgotten():
    rotary._angles.cache_clear()
    for tokens in (7, 8, 9):
        for base in (BASE, 1e6) * 4:
            with_positions(without_positions(keys(tokens).numpy(), base), base)
    found = rotary._angles.cache_info()
    assert found.misses == 6 and found.currsize == 2
