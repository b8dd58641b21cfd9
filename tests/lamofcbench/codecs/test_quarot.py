"""What `quarot` and `quarot-entropy` promise beyond the conformance suite."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance
from lamofcbench.codecs.conformance_samples import SPECS, calibration_samples, make_sample
from lamofcbench.codecs.groups.hadamard import rotate
from lamofcbench.codecs.kivi import KiviCodec
from lamofcbench.codecs.quarot import QuarotCodec, QuarotEntropyCodec
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)


def specs(role="hidden", shape=(T, 96)):
    return FeatureSpecs(tensors=(TensorSpec(name="x", role=role, shape=shape, dtype="float32"),))


def features(values):
    return FeatureSet({"x": torch.as_tensor(values).float()})


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def decoded(codec, sample):
    return codec.decode(codec.encode(sample))["x"].double().numpy()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_root_mean_square_error_of_a_token_is_at_most_half_a_step(bits, symmetric):
    codec = QuarotCodec(specs(), {"bits": bits, "clip": 1.0, "symmetric": symmetric})
    values = noise(50, 96) * np.exp(noise(96, seed=1) * 2)
    error = decoded(codec, features(values)) - values
    rotated = rotate(values.astype(np.float32))
    if symmetric:
        steps = np.abs(rotated).max(axis=1) / (2 ** (bits - 1) - 1)
    else:
        steps = (np.ptp(rotated, axis=1) + np.abs(rotated).max(axis=1) * 2**-10) / (2**bits - 1)
    assert (np.sqrt(np.square(error).mean(axis=1)) <= steps / 2 * 1.002).all()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rate_is_the_bits_of_a_code_and_the_scales_of_a_group(bits, symmetric):
    codec = QuarotCodec(specs(shape=(T, 256)), {"bits": bits, "symmetric": symmetric})
    sample = features(noise(10, 256))
    payload = codec.encode_tensor(codec.specs["x"], sample["x"])
    assert len(payload) * 8 == sample.elements * (bits + (16 if symmetric else 32) / 128)


def test_rotation_protects_the_other_channels_from_a_massive_one():
    values = noise(64, 128)
    values[:, 7] *= 300.0
    sample, others = features(values), np.arange(128) != 7
    declared = specs(shape=(T, 128))
    rotated = decoded(QuarotCodec(declared, {"bits": 4, "clip": 1.0}), sample) - values
    straight = decoded(KiviCodec(declared, {"bits": 4, "group": 128}), sample) - values  # per token, not rotated
    assert np.square(rotated).mean() < 0.3 * np.square(straight).mean()
    assert np.square(straight[:, others]).mean() > 0.9  # nothing is left of them


def test_caches_are_rotated_a_head_at_a_time():
    values = noise(4, 20, 32)
    values[1] *= 1000.0
    codec = QuarotCodec(specs("key", (4, T, 32)), {"bits": 8, "group": 32, "clip": 1.0})
    error = decoded(codec, features(values)) - values
    assert np.abs(error[[0, 2, 3]]).max() < 0.05 < np.abs(error[1]).max()


@pytest.mark.parametrize("params", [{"bits": 2}, {"bits": 4, "symmetric": True}, {"bits": 3, "group": 7}])
def test_entropy_coding_changes_the_rate_and_nothing_else(params):
    plain = QuarotCodec(SPECS, params)
    coded = QuarotEntropyCodec(SPECS, params).fit(calibration_samples())
    sample = make_sample("typical", 400, 9)
    assert conformance.digest(plain.decode(plain.encode(sample))) == conformance.digest(
        coded.decode(coded.encode(sample))
    )
    assert len(coded.encode(sample)) < 0.97 * len(plain.encode(sample))


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("codec_class", [QuarotCodec, QuarotEntropyCodec])
def test_symmetric_levels_keep_the_contract(codec_class, check):
    check(conformance.fitted(codec_class, {"bits": 3, "group": 5, "symmetric": True}))


@pytest.mark.parametrize("params", [{"bits": 1}, {"bits": 9}, {"group": 0}, {"clip": 0}, {"clip": 1.1}])
def test_parameters_are_checked(params):
    with pytest.raises(CodecError, match=next(iter(params))):
        QuarotCodec(specs(), params)
