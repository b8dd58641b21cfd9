"""What `uniform` and `channel` promise beyond the conformance suite."""

import hashlib

import numpy as np
import pytest
import torch

from lamofcbench.codecs import integers
from lamofcbench.codecs.channel import ChannelCodec
from lamofcbench.codecs.entropy import frequencies_from_weights
from lamofcbench.codecs.uniform import UniformCodec
from lamofcbench.errors import CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)


def specs(dtype="float32", shape=(T, 8), role="hidden"):
    return FeatureSpecs(tensors=(TensorSpec(name="x", role=role, shape=shape, dtype=dtype),))


def features(values, dtype=torch.float32):
    return FeatureSet({"x": torch.as_tensor(values).to(dtype)})


def noise(tokens, seed=0, scale=1.0, width=8):
    return np.random.default_rng(seed).normal(0, 1, (tokens, width)) * scale


def calibration(scale=1.0, samples=4, width=8):
    return [features(noise(50, seed, scale, width)) for seed in range(samples)]


def step_of(codec):
    return codec.state["steps"].item()


def test_step_is_a_factor_of_the_calibrated_deviation():
    codec = UniformCodec(specs(), {"step": 0.5}).fit(calibration(scale=3.0))
    values = torch.cat([f["x"] for f in calibration(scale=3.0)]).double()
    assert step_of(codec) == pytest.approx(0.5 * values.std(correction=0).item(), rel=1e-12)


def test_channel_step_is_a_factor_of_the_median_channels_deviation():
    scales = np.array([1, 1, 1, 1, 1, 1, 1, 1000.0])
    codec = ChannelCodec(specs(), {"step": 0.5}).fit(calibration(scale=scales))
    assert step_of(codec) == pytest.approx(0.5, rel=0.15)  # the massive channel does not decide it


@pytest.mark.parametrize("codec_class", [UniformCodec, ChannelCodec])
@pytest.mark.parametrize("factor", [1e-6, 0.01, 1.0, 30.0])
def test_error_is_at_most_half_a_step_however_large_the_value(codec_class, factor):
    codec = codec_class(specs(), {"step": factor}).fit(calibration())
    largest = float(torch.finfo(torch.float32).max)
    values = noise(40, seed=9)
    values[0] = [1e3, -1e5, 1e8, -1e12, largest, -largest, 1e-42, -0.0]
    sample = features(values)
    decoded = codec.decode(codec.encode(sample))["x"].double()
    rounding = sample["x"].double().abs() * 2**-24  # the cast to float32
    assert ((decoded - sample["x"].double()).abs() <= step_of(codec) / 2 * (1 + 1e-9) + rounding).all()


@pytest.mark.parametrize("codec_class", [UniformCodec, ChannelCodec])
@pytest.mark.parametrize("value", [0.0, 3.25, -1e30, 1e-40])
def test_constant_tensor_survives_the_coarsest_step_at_no_cost(codec_class, value):
    constant = [features(np.full((20, 8), value)) for _ in range(3)]
    codec = codec_class(specs(), codec_class.rate_points[-1]).fit(constant)
    data = codec.encode(constant[0])
    decoded = codec.decode(data)["x"]
    assert len(data) < 20
    assert torch.allclose(decoded, constant[0]["x"], rtol=0.01, atol=0)


@pytest.mark.parametrize("codec_class", [UniformCodec, ChannelCodec])
def test_tensor_that_calibration_never_saw_can_be_coded(codec_class):
    codec = codec_class(specs(), {"step": 0.01}).fit([features(np.zeros((0, 8)))])
    sample = features(noise(30))
    decoded = codec.decode(codec.encode(sample))["x"]
    assert (decoded - sample["x"]).abs().max() <= 0.005001


@pytest.mark.parametrize("codec_class", [UniformCodec, ChannelCodec])
def test_largest_half_precision_value_does_not_become_infinite(codec_class):
    codec = codec_class(specs("float16"), {"step": 0.7}).fit(
        [features(noise(30, scale=9e3).clip(-6e4, 6e4), torch.float16)]
    )
    sample = features(np.full((4, 8), 65504.0), torch.float16)
    assert torch.isfinite(codec.decode(codec.encode(sample))["x"]).all()


@pytest.mark.parametrize("codec_class", [UniformCodec, ChannelCodec])
def test_ladder_falls_from_near_lossless_to_destroyed(codec_class):
    sample = features(noise(200, seed=50))
    rates, errors = [], []
    for point in codec_class.rate_points:
        codec = codec_class(specs(), point).fit(calibration(samples=10))
        data = codec.encode(sample)
        rates.append(8 * len(data) / sample.elements)
        errors.append((codec.decode(data)["x"] - sample["x"]).square().mean().item() / sample["x"].var().item())
    assert rates == sorted(rates, reverse=True) and errors == sorted(errors)
    assert rates[0] > 5 and errors[0] < 1e-3
    assert rates[-1] < 0.5 and errors[-1] > 0.5


def test_rate_is_near_the_entropy_of_the_quantised_values():
    codec = UniformCodec(specs(), {"step": 0.25}).fit([features(noise(2000, seed)) for seed in range(4)])
    sample = features(noise(2000, seed=77))
    integer = np.rint(sample["x"].double().numpy() / step_of(codec)).astype(int)
    share = np.unique(integer, return_counts=True)[1] / integer.size
    entropy = -(share * np.log2(share)).sum()
    assert 8 * len(codec.encode(sample)) / sample.elements < 1.02 * entropy


def test_channel_statistics_pay_where_channels_differ():
    scales = np.exp(np.random.default_rng(3).normal(0, 2, 8))
    fitting, sample = calibration(scale=scales, samples=8), features(noise(500, 70, scales))
    uniform = UniformCodec(specs(), {"step": 0.01}).fit(fitting)
    factor = step_of(uniform) / step_of(ChannelCodec(specs(), {"step": 1.0}).fit(fitting))
    channel = ChannelCodec(specs(), {"step": factor}).fit(fitting)  # the same step, so the same error
    assert len(channel.encode(sample)) < 0.9 * len(uniform.encode(sample))


def test_channel_axes_follow_the_role():
    for role, shape, dims, channels in (
        ("key", (2, T, 4), (2, 30, 4), 8),
        ("conv_state", (6, 4), (6, 4), 24),
        ("latent", (5, 3, 2), (5, 3, 2), 5),
        ("pooled", (7,), (7,), 7),
        ("hidden", (T, 4), (30, 4), 4),
    ):
        sample = features(np.random.default_rng(1).normal(size=dims))
        codec = ChannelCodec(specs(shape=shape, role=role), {"step": 0.01}).fit([sample] * 3)
        assert codec.state["mean.x"].shape == (channels,)
        assert torch.allclose(codec.decode(codec.encode(sample))["x"], sample["x"], atol=0.02)


@pytest.mark.parametrize("codec_class", [UniformCodec, ChannelCodec])
@pytest.mark.parametrize("step", ["0", "-1", "nan", "inf", "abc", ""])
def test_step_must_be_positive_and_finite(codec_class, step):
    with pytest.raises(CodecError, match="step"):
        codec_class(specs(), {"step": step})


@pytest.mark.parametrize("damage", ["steps", "frequencies"])
@pytest.mark.parametrize("codec_class", [UniformCodec, ChannelCodec])
def test_state_of_a_stranger_is_checked(codec_class, damage):
    fitted = codec_class(specs(), {"step": 0.3}).fit(calibration())
    for tensor in (torch.zeros(0), torch.full_like(fitted.state[damage], -1)):
        with pytest.raises(CodecError):
            codec_class(specs(), {"step": 0.3}, {**fitted.state, damage: tensor}).check_state()


def golden_payload(codec_class, state):
    values = (torch.arange(-40, 40) ** 3 / 64.0).reshape(10, 8)
    values[3, 3] = 3e38
    codec = codec_class(specs(), {"step": 1.0}, state)
    payload = codec.encode_features(features(values))
    return hashlib.sha256(payload).hexdigest()[:16]


def test_payload_bytes_are_the_same_in_every_version_and_on_every_machine():
    table = frequencies_from_weights(1.0 / (1.0 + np.abs(np.arange(integers.ALPHABET) - integers.ZERO)))
    state = {"steps": torch.tensor([0.25], dtype=torch.float64), "frequencies": torch.from_numpy(table[None])}
    assert golden_payload(UniformCodec, state) == "1713523ed38d6aec"
    state |= {"mean.x": torch.arange(8.0), "table.x": torch.tensor([1, 0, 0, 0, 1, 1, 0, 0], dtype=torch.int32)}
    flat = frequencies_from_weights(np.ones(integers.ALPHABET))
    state["frequencies"] = torch.from_numpy(np.stack([table, flat]))
    assert golden_payload(ChannelCodec, state) == "accedddc67ebc4f1"
