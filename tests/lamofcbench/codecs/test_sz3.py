"""What `sz3` promises beyond the conformance suite."""

import os
import signal

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance
from lamofcbench.codecs.bounded import sz3_process
from lamofcbench.codecs.sz3 import Sz3Codec
from lamofcbench.errors import BitstreamError, CodecError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

imagecodecs = pytest.importorskip("imagecodecs")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="decodes in forked processes")

T = Axis(name="tokens", limit=2**20)
SPECS = FeatureSpecs(
    tensors=(
        TensorSpec(name="key.0", role="key", shape=(2, T, 8), dtype="float32"),
        TensorSpec(name="value.0", role="value", shape=(2, T, 8), dtype="float32"),
        TensorSpec(name="hidden", role="hidden", shape=(T, 24), dtype="float32"),
    )
)


def make(tokens, seed, scale=(1.0, 0.01, 200.0)):
    generator = np.random.default_rng(seed)
    shapes = {"key.0": (2, tokens, 8), "value.0": (2, tokens, 8), "hidden": (tokens, 24)}
    values = [generator.normal(size=shape) * factor for shape, factor in zip(shapes.values(), scale, strict=True)]
    return FeatureSet({name: torch.from_numpy(x).float() for name, x in zip(shapes, values, strict=True)})


def fitted(**params):
    return Sz3Codec(SPECS, params).fit([make(40, seed) for seed in range(3)])


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("tolerance", [1e-3, 0.1, 1.0, 6.0])
def test_error_is_at_most_the_tolerance_of_its_tensor(dims, tolerance):
    codec = fitted(dims=dims, tolerance=tolerance)
    for tokens in (1, 3, 90):
        sample = make(tokens, 9)
        sample["hidden"][0, :2] *= 1000.0
        decoded = codec.decode(codec.encode(sample))
        for name, tensor in sample.tensors.items():
            error = (decoded[name].double() - tensor.double()).abs().max().item()
            assert error <= codec.tolerances[name] * (1 + 1e-5) + tensor.abs().max().item() * 2**-22


def test_ladder_falls_from_near_lossless_to_destroyed():
    sample = make(400, 5)
    rates, errors = [], []
    for point in Sz3Codec.rate_points:
        codec = fitted(**point)
        data = codec.encode(sample)
        rates.append(8 * len(data) / sample.elements)
        errors.append((codec.decode(data)["key.0"] - sample["key.0"]).square().mean().item())
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 4 and errors[0] < 0.01 and rates[-1] < 0.5 and errors[-1] > 0.9


def test_one_stream_for_all_tensors_is_smaller_than_one_for_each():
    sample, codec = make(60, 7), fitted(tolerance=0.5)
    alone = sum(len(codec.compress(codec.scaled(name, tensor))) for name, tensor in sample.tensors.items())
    assert len(codec.encode(sample)) < 0.85 * alone


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_planes_keep_the_contract(check):
    check(conformance.fitted(Sz3Codec, {"dims": 2, "tolerance": 0.5}))


def test_crafted_streams_neither_crash_the_process_nor_spoil_what_follows():
    codec, sample = fitted(), make(50, 8)
    honest = codec.encode(sample)
    (payload,) = codec._encode_sections(sample)
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        mutated = bytearray(payload)
        for _ in range(int(generator.integers(1, 6))):
            mutated[int(generator.integers(len(mutated)))] = int(generator.integers(256))
        try:
            codec.decode(conformance.craft(codec, (50,), [bytes(mutated)]))
        except BitstreamError:
            refused += 1
    assert refused > 10
    assert conformance.digest(codec.decode(honest)) == conformance.digest(fitted().decode(honest))


def test_stream_that_asks_for_much_memory_is_refused():
    shape = (1000,)
    stream = bytearray(fitted().compress(np.zeros(shape, np.float32)))
    frame = stream.index(b"\x28\xb5\x2f\xfd")  # of zstd; before it stands the size of what it holds
    stream[frame - 8 : frame] = (2**45).to_bytes(8, "little")
    with pytest.raises(BitstreamError, match="memory"):
        sz3_process.decode_elsewhere(bytes(stream), shape)


def test_decoding_goes_on_after_its_process_was_killed():
    codec, sample = fitted(), make(5, 1)
    data = codec.encode(sample)
    before = codec.decode(data)
    worker = sz3_process._WORKERS[os.getpid()]
    os.killpg(worker._process.pid, signal.SIGKILL)
    worker._process.wait()
    with pytest.raises(BitstreamError, match="ended"):
        codec.decode(data)
    assert conformance.digest(codec.decode(data)) == conformance.digest(before)


def test_streams_of_planes_must_lie_within_the_payload():
    codec = fitted(dims=2)
    (payload,) = codec._encode_sections(make(5, 1))
    for damaged in (payload[4:], payload[:40], (2**31).to_bytes(4, "little") + payload[4:], b""):
        conformance.check_refused_or_valid(codec, (5,), [damaged])
        with pytest.raises(BitstreamError):
            codec.decode(conformance.craft(codec, (5,), [damaged]))


@pytest.mark.parametrize("params", [{"tolerance": -1}, {"unit": ""}, {"dims": 3}])
def test_parameters_are_checked(params):
    with pytest.raises(CodecError, match=next(iter(params))):
        Sz3Codec(SPECS, params)
