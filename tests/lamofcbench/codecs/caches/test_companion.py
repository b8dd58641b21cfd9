import numpy as np
import pytest
import torch

from lamofcbench.codecs.caches import companion
from lamofcbench.codecs.channel import ChannelCodec
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import FeatureSpecs, TensorSpec

SPECS = FeatureSpecs(tensors=(TensorSpec(name="state", role="ssm_state", shape=(64, 8), dtype="float16"),))
SCALES = np.exp(np.random.default_rng(9).normal(size=(64, 8)))


def samples(count=40, first_seed=0):
    made = [np.random.default_rng(first_seed + seed).normal(size=(64, 8)) * SCALES for seed in range(count)]
    return [FeatureSet({"state": torch.from_numpy(m).half(), "more": torch.zeros(3)}, {"seed": 1}) for m in made]


@pytest.mark.parametrize("ratio", [2.0, 8.0, 32.0])
def test_the_step_makes_gaussian_channels_take_one_part_in_so_many(ratio):
    step = companion.step_for_ratio(SPECS, samples(), ratio)
    codec = ChannelCodec(SPECS, {"step": step}).fit([FeatureSet({"state": s["state"]}) for s in samples()])
    test = [FeatureSet({"state": s["state"]}) for s in samples(20, first_seed=100)]
    coded = sum(len(codec._encode_sections(s)[0]) for s in test)
    raw = sum(s.raw_bits // 8 for s in test)
    assert raw / coded == pytest.approx(ratio, rel=0.15)


def test_state_has_names_of_its_own_and_comes_back():
    state = companion.learn(SPECS, samples(), 1.0)
    assert state and all(name.startswith(companion.PREFIX) for name in state)
    codec = companion.restored(SPECS, {**state, "other": torch.zeros(1)})
    assert codec.specs == SPECS and "other" not in codec.state


def test_a_state_that_lacks_something_is_refused():
    state = companion.learn(SPECS, samples(), 1.0)
    for name in state:
        with pytest.raises(CodecError):
            companion.restored(SPECS, {n: t for n, t in state.items() if n != name})


def test_nothing_is_left_where_all_tensors_hold_tokens():
    assert companion.learn(None, [], 1.0) == {} and companion.restored(None, {}) is None
    assert companion.step_for_ratio(None, [], 8.0) == 1.0


def test_constant_and_empty_tensors_have_a_step():
    constant = [FeatureSet({"state": torch.ones(64, 8).half()})] * 3
    assert companion.step_for_ratio(SPECS, constant, 16.0) > 0
