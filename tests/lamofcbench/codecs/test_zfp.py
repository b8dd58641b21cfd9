"""What `zfp` promises beyond the conformance suite."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance
from lamofcbench.codecs.zfp import ZfpCodec
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

imagecodecs = pytest.importorskip("imagecodecs")

T = Axis(name="tokens", limit=2**20)
SHAPES = {
    "hidden": ((T, 10), (37, 10)),
    "key": ((2, T, 6), (2, 37, 6)),
    "conv_state": ((9, 4), (9, 4)),
    "latent": ((4, 6, 5), (4, 6, 5)),
    "pooled": ((13,), (13,)),
}


def specs(role="hidden"):
    return FeatureSpecs(tensors=(TensorSpec(name="x", role=role, shape=SHAPES[role][0], dtype="float32"),))


def features(values):
    return FeatureSet({"x": torch.as_tensor(values).float()})


def noise(role="hidden", seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(size=SHAPES[role][1]) * scale


def calibration(role="hidden", scale=1.0):
    return [features(noise(role, seed, scale)) for seed in range(10, 14)]


def fitted(role="hidden", scale=1.0, **params):
    return ZfpCodec(specs(role), params).fit(calibration(role, scale))


@pytest.mark.parametrize("role", SHAPES)
@pytest.mark.parametrize("tolerance", [1e-4, 0.1, 1.0, 8.0])
def test_error_is_at_most_the_tolerance(role, tolerance):
    codec = fitted(role, scale=50.0, tolerance=tolerance)
    values = noise(role, seed=3, scale=50.0)
    values.flat[::7] *= 100.0
    error = np.abs(codec.decode(codec.encode(features(values)))["x"].double().numpy() - np.float32(values))
    assert error.max() <= codec.tolerances["x"] + np.abs(values).max() * 2**-22


def test_unit_of_the_tolerance():
    values = np.concatenate([f["x"].double().numpy().ravel() for f in calibration(scale=7.0)])
    for unit, expected in (("deviation", 0.3 * values.std()), ("range", 0.3 * np.ptp(values)), ("absolute", 0.3)):
        codec = fitted(scale=7.0, tolerance=0.3, unit=unit)
        assert codec.tolerances["x"] == pytest.approx(expected, rel=1e-6)


def test_ladder_falls_from_near_lossless_to_destroyed():
    sample = features(np.random.default_rng(5).normal(size=(400, 10)))
    rates, errors = [], []
    for point in ZfpCodec.rate_points:
        codec = fitted(**point)
        data = codec.encode(sample)
        rates.append(8 * len(data) / sample.elements)
        errors.append((codec.decode(data)["x"] - sample["x"]).square().mean().item())
    assert rates == sorted(rates, reverse=True) and errors[:4] == sorted(errors[:4])
    assert rates[0] > 5 and errors[0] < 0.01 and rates[-1] < 0.5 and errors[-1] > 0.9


def test_stream_goes_without_header_and_padding():
    codec, sample = fitted(), features(noise())
    payload = codec.encode_tensor(codec.specs["x"], sample["x"])
    whole = imagecodecs.zfp_encode(codec.scaled("x", sample["x"]), 1, mode="accuracy", header=False)
    assert whole[:4] == b"zfp\x05" and payload == whole[5:].rstrip(b"\0")


def test_shorter_payloads_never_read_beyond_their_end():
    codec = fitted()
    spec, shape = codec.specs["x"], (400, 10)
    payload = codec.encode_tensor(spec, torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    for length in range(1, len(payload), 7):
        if payload[length - 1]:  # what lies beyond counts as zero, so the result is the same every time
            results = [codec.decode_tensor(spec, payload[:length], shape) for _ in range(2)]
            assert torch.equal(*results)


def test_payload_longer_than_the_shape_can_take_is_refused():
    codec = fitted()
    for payload in (b"\x04" + b"\xff" * 1000, b"\x0b" * 10, b""):
        with pytest.raises(BitstreamError):
            codec.decode_tensor(codec.specs["x"], payload, (4, 10))


def test_random_payloads_decode_to_finite_values_or_are_refused():
    codec = fitted()
    generator = np.random.default_rng(0)
    for _ in range(300):
        payload = bytearray(generator.bytes(int(generator.integers(1, 400))))
        payload[0] = payload[0] & 0xF0 | 0x04
        conformance.check_refused_or_valid(codec, (37,), [bytes(payload)])


@pytest.mark.parametrize("params", [{"tolerance": 0}, {"tolerance": "nan"}, {"unit": "metre"}])
def test_parameters_are_checked(params):
    with pytest.raises(CodecError, match=next(iter(params))):
        ZfpCodec(specs(), params)


def test_tolerances_of_a_stranger_are_checked():
    codec = fitted()
    for tensor in (torch.zeros(1), torch.tensor([float("nan")]), torch.ones(2)):
        with pytest.raises(CodecError, match="tolerance"):
            ZfpCodec(codec.specs, codec.params, {"tolerances": tensor}).check_state()
