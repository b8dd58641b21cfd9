"""What `kivi` and `kivi-entropy` promise beyond the conformance suite."""

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance
from lamofcbench.codecs.conformance_samples import SPECS, calibration_samples, make_sample
from lamofcbench.codecs.kivi import KiviCodec, KiviEntropyCodec
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet, tensor_bytes
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)


def specs(role, shape=(2, T, 32), dtype="float32"):
    return FeatureSpecs(tensors=(TensorSpec(name="x", role=role, shape=shape, dtype=dtype),))


def features(values, dtype=torch.float32):
    return FeatureSet({"x": torch.as_tensor(np.asarray(values)).to(dtype)})


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def section(codec, sample):
    return codec.encode_tensor(codec.specs["x"], sample["x"])


def decoded(codec, sample):
    return codec.decode(codec.encode(sample))["x"].double().numpy()


def test_bytes_of_a_group_are_its_step_its_low_end_and_its_codes():
    codec = KiviCodec(specs("value", (1, T, 4)), {"bits": 2, "group": 4})
    assert section(codec, features([[[1.0, 3.0, 2.0, 4.0]]])).hex() == "003c" + "003c" + "d8"


@pytest.mark.parametrize("role, shape", [("key", (2, 96, 32)), ("value", (2, 96, 32)), ("hidden", (96, 64))])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_rate_is_the_bits_of_a_code_and_a_thirty_second_of_two_halves(role, shape, bits):
    codec = KiviCodec(specs(role, tuple(T if n == 96 else n for n in shape)), {"bits": bits})
    sample = features(noise(*shape))
    assert len(section(codec, sample)) * 8 == sample.elements * (bits + 32 / 32)


def test_a_group_of_keys_is_one_channel_and_a_group_of_values_is_one_token():
    values = noise(1, 64, 32)
    massive_channel, massive_token = values.copy(), values.copy()
    massive_channel[..., 3] *= 1000.0
    massive_token[:, 3] *= 1000.0
    for role, kind, spoilt in (
        ("key", massive_channel, np.s_[..., 3]),
        ("value", massive_token, np.s_[:, 3]),
    ):
        codec = KiviCodec(specs(role, (1, T, 32)), {"bits": 4})
        error = decoded(codec, features(kind)) - kind
        error[spoilt] = 0.0
        assert np.abs(error).max() < 0.3  # the others have a scale of their own


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("codec_class", [KiviCodec, KiviEntropyCodec])
def test_error_is_at_most_half_a_step_of_the_groups_range(codec_class, bits):
    for role in ("key", "value"):
        codec = codec_class(specs(role), {"bits": bits}).fit([features(noise(2, 50, 32, seed=s)) for s in range(3)])
        values = noise(2, 70, 32, seed=9) * np.exp(noise(32, seed=1) * 3)
        groups = np.moveaxis(values, 1, 2) if role == "key" else values
        parts = np.array_split(groups, 2, axis=2) if role == "key" else [groups]
        error = np.abs(decoded(codec, features(values)) - values)
        error = np.moveaxis(error, 1, 2) if role == "key" else error
        for part, its_error in zip(parts, np.array_split(error, len(parts), axis=2), strict=True):
            # Half precision holds 11 bits of a low end, which may be as large as the range.
            step = np.ptp(part, axis=2, keepdims=True) / (2**bits - 1)
            rounding = np.abs(part).max(axis=2, keepdims=True) * 2**-9
            assert (its_error <= step / 2 + rounding).all()


@pytest.mark.parametrize("codec_class", [KiviCodec, KiviEntropyCodec])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_most_recent_tokens_come_back_bit_by_bit(codec_class, dtype):
    declared = specs("key", dtype=str(dtype).removeprefix("torch."))
    codec = codec_class(declared, {"residual": 16}).fit([features(noise(2, 64, 32, seed=5), dtype)])
    sample = features(noise(2, 80, 32), dtype)
    restored = codec.decode(codec.encode(sample))["x"]
    assert tensor_bytes(restored[:, -16:]) == tensor_bytes(sample["x"][:, -16:])
    assert (restored[:, :-16] - sample["x"][:, :-16]).abs().max() > 0
    short = features(noise(2, 9, 32), dtype)
    assert tensor_bytes(codec.decode(codec.encode(short))["x"]) == tensor_bytes(short["x"])


def test_full_precision_window_is_for_caches_only():
    for role, exact in (("key", True), ("value", True), ("hidden", False)):
        codec = KiviCodec(specs(role, (2, T, 32) if exact else (T, 32)), {"residual": 4096})
        sample = features(noise(2, 40, 32) if exact else noise(40, 32))
        assert (decoded(codec, sample) == sample["x"].double().numpy()).all() == exact


@pytest.mark.parametrize("params", [{"bits": 2}, {"bits": 4, "residual": 5}, {"bits": 3, "group": 7}])
def test_entropy_coding_changes_the_rate_and_nothing_else(params):
    plain = KiviCodec(SPECS, params)
    coded = KiviEntropyCodec(SPECS, params).fit(calibration_samples())
    sample = make_sample("typical", 400, 9)
    assert conformance.digest(plain.decode(plain.encode(sample))) == conformance.digest(
        coded.decode(coded.encode(sample))
    )
    assert len(coded.encode(sample)) < 0.97 * len(plain.encode(sample))


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("codec_class", [KiviCodec, KiviEntropyCodec])
def test_window_and_odd_groups_keep_the_contract(codec_class, check):
    check(conformance.fitted(codec_class, {"bits": 5, "group": 7, "residual": 3}))


def test_payload_of_another_length_is_refused():
    codec = KiviCodec(specs("key"))
    data = section(codec, features(noise(2, 40, 32)))
    for damaged in (data[:-1], data + b"\0", b""):
        with pytest.raises(BitstreamError, match="takes"):
            codec.decode_tensor(codec.specs["x"], damaged, (2, 40, 32))


def test_recent_tokens_of_a_stranger_must_be_finite():
    codec = KiviCodec(specs("key"), {"residual": 64})
    with pytest.raises(BitstreamError, match="not finite"):
        codec.decode_tensor(codec.specs["x"], b"\xff" * (4 * 2 * 8 * 32), (2, 8, 32))


@pytest.mark.parametrize("params", [{"bits": 1}, {"bits": 9}, {"group": 1}, {"residual": -1}, {"entropy": "true"}])
def test_parameters_are_checked(params):
    with pytest.raises(CodecError, match=next(iter(params))):
        KiviCodec(specs("key"), params)


@pytest.mark.parametrize("damage", ["frequencies", "scale_frequencies"])
def test_tables_of_a_stranger_are_checked(damage):
    fitted = conformance.fitted(KiviEntropyCodec)
    for tensor in (fitted.state[damage][:-1], torch.zeros_like(fitted.state[damage])):
        with pytest.raises(CodecError):
            KiviEntropyCodec(SPECS, fitted.params, {**fitted.state, damage: tensor}).check_state()
