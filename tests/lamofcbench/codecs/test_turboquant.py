"""What `turboquant` and `turboquant-entropy` promise beyond the conformance suite."""

import math

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance
from lamofcbench.codecs.conformance_samples import SPECS, calibration_samples, make_sample
from lamofcbench.codecs.turboquant import TurboquantCodec, TurboquantEntropyCodec
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)
DISTORTION = {1: 0.36338, 2: 0.11748, 3: 0.03455, 4: 0.00950, 5: 0.00251}


def specs(role="hidden", shape=(T, 128)):
    return FeatureSpecs(tensors=(TensorSpec(name="x", role=role, shape=shape, dtype="float32"),))


def features(values):
    return FeatureSet({"x": torch.as_tensor(values).float()})


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def decoded(codec, sample):
    return codec.decode(codec.encode(sample))["x"].double().numpy()


def relative_errors(codec, values):
    """Squared error over squared norm of each row."""
    return np.square(decoded(codec, features(values)) - values).sum(-1) / np.square(values).sum(-1)


@pytest.mark.parametrize("bits", DISTORTION)
def test_error_is_that_of_lloyd_max_levels_whatever_the_vectors(bits):
    """The paper's promise: the same distortion for Gaussians, for sparse vectors, whatever their scales."""
    codec = TurboquantCodec(specs(), {"bits": bits})
    sparse = noise(300, 128) * (noise(300, 128, seed=2) > 1.5)
    for values in (noise(300, 128), noise(300, 128) * np.exp(2 * noise(300, 1, seed=1))):
        assert relative_errors(codec, values).mean() == pytest.approx(DISTORTION[bits], rel=0.1)
    kept = sparse[np.abs(sparse).max(1) > 0]
    assert relative_errors(codec, kept).mean() == pytest.approx(DISTORTION[bits], rel=0.25)


@pytest.mark.parametrize("bits", range(1, 9))
def test_error_keeps_the_papers_bound(bits):
    """Its theorem 1, for unit vectors: sqrt(3) pi / 2 times four to the power of minus bits."""
    codec = TurboquantCodec(specs(), {"bits": bits})
    massive = noise(200, 128)
    massive[:, 7] *= 50.0
    for values in (noise(200, 128), massive):
        assert relative_errors(codec, values).mean() < math.sqrt(3) * math.pi / 2 * 4.0**-bits


@pytest.mark.parametrize("bits", [1, 3, 4, 8])
@pytest.mark.parametrize(
    "role, shape, declared, vectors",
    [
        ("hidden", (20, 128), (T, 128), 20),
        ("key", (4, 20, 32), (4, T, 32), 80),
        ("ssm_state", (128, 8), (128, 8), 8),
        ("latent", (4, 8, 8), (4, 8, 8), 4),
        ("pooled", (64,), (64,), 1),
    ],
)
def test_rate_is_the_bits_of_a_code_and_sixteen_a_vector(role, shape, declared, vectors, bits):
    codec = TurboquantCodec(specs(role, declared), {"bits": bits})
    sample = features(noise(*shape))
    payload = codec.encode_tensor(codec.specs["x"], sample["x"])
    assert len(payload) * 8 == sample.elements * bits + 16 * vectors


def test_heads_of_a_cache_have_norms_of_their_own():
    values = noise(4, 20, 32)
    values[1] *= 1000.0
    errors = relative_errors(TurboquantCodec(specs("key", (4, T, 32)), {"bits": 4}), values)
    assert errors.mean(1) == pytest.approx([0.0095] * 4, rel=0.3)


def test_signs_make_a_constant_vector_like_any_other():
    """A Hadamard matrix alone would put all of it into one coordinate."""
    errors = relative_errors(TurboquantCodec(specs(), {"bits": 4}), np.ones((1, 128)))
    assert errors < 3 * DISTORTION[4]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_entropy_coding_changes_the_rate_and_nothing_else(bits):
    plain = TurboquantCodec(SPECS, {"bits": bits})
    coded = TurboquantEntropyCodec(SPECS, {"bits": bits}).fit(calibration_samples())
    sample = make_sample("typical", 400, 9)
    assert conformance.digest(plain.decode(plain.encode(sample))) == conformance.digest(
        coded.decode(coded.encode(sample))
    )
    assert len(coded.encode(sample)) < 0.97 * len(plain.encode(sample))


def test_norms_that_no_encoder_writes_are_refused():
    codec = TurboquantCodec(specs())
    good = codec.encode_tensor(codec.specs["x"], features(noise(3, 128))["x"])
    for norm in (-1.0, np.nan, np.inf):
        damaged = np.float16(norm).tobytes() + good[2:]
        with pytest.raises(BitstreamError):
            codec.decode_tensor(codec.specs["x"], damaged, (3, 128))
    for damaged in (good[:-1], good + b"\0", b""):
        with pytest.raises(BitstreamError, match="takes"):
            codec.decode_tensor(codec.specs["x"], damaged, (3, 128))


@pytest.mark.parametrize("params", [{"bits": 0}, {"bits": 9}])
def test_parameters_are_checked(params):
    with pytest.raises(CodecError, match="bits"):
        TurboquantCodec(specs(), params)
