"""`identity`, `zstd`, `mean` and what they are measured with, beyond the conformance suite."""

import hashlib

import numpy as np
import pytest
import torch
import zstandard

from lamofcbench.codecs import conformance
from lamofcbench.codecs.calibration import channel_dims, measure
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.codecs.mean import MeanCodec
from lamofcbench.codecs.zstd import ZstdCodec
from lamofcbench.errors import BitstreamError, CodecError, NonFiniteError, ScenarioError
from lamofcbench.features import FeatureSet, tensor_bytes
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

T = Axis(name="tokens", limit=4096)
HIDDEN = FeatureSpecs(tensors=(TensorSpec(name="hidden", role="hidden", shape=(T, 4), dtype="float32"),))


def hidden(values):
    return FeatureSet({"hidden": torch.as_tensor(values, dtype=torch.float32)})


# ------------------------------------------------------------------------------------------------- identity


def test_identity_is_the_raw_bytes_in_order():
    features = conformance.make_sample("typical", 5, 1)
    sections = IdentityCodec(conformance.SPECS)._encode_sections(features)
    assert b"".join(sections) == b"".join(tensor_bytes(t) for t in features.tensors.values())


def test_identity_bitstream_is_the_same_in_every_version_and_on_every_machine():
    data = IdentityCodec(HIDDEN).encode(hidden(torch.arange(12.0).reshape(3, 4)))
    assert hashlib.sha256(data[4:-4]).hexdigest()[:16] == "e72419e988d88dbd"  # without fingerprint and checksum


# ----------------------------------------------------------------------------------------------------- zstd


def smooth_sample(tokens=200):
    generator = np.random.default_rng(0)
    return hidden(generator.normal(0, 1, (tokens, 4)))


def test_zstd_is_smaller_than_zstd_of_the_bytes_as_they_lie():
    features = smooth_sample()
    planes = len(ZstdCodec(HIDDEN).encode(features))
    as_they_lie = len(zstandard.ZstdCompressor(level=3).compress(tensor_bytes(features["hidden"])))
    assert planes < 0.94 * as_they_lie


@pytest.mark.parametrize("level", [1, 3, 9, 19, 22])
def test_every_level_decodes_with_the_same_codec_rules(level):
    codec = ZstdCodec(HIDDEN, {"level": level})
    features = smooth_sample()
    assert torch.equal(codec.decode(codec.encode(features))["hidden"], features["hidden"])


@pytest.mark.parametrize("level", ["0", "23", "-1", "3.5", "fast"])
def test_unknown_levels_are_refused(level):
    with pytest.raises(CodecError, match="level"):
        ZstdCodec(HIDDEN, {"level": level})


def magicless(data, **settings):
    parameters = zstandard.ZstdCompressionParameters.from_level(19, format=zstandard.FORMAT_ZSTD1_MAGICLESS, **settings)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def test_decompression_bombs_are_refused():
    bomb = magicless(bytes(50_000_000), write_content_size=False)
    claimed = magicless(bytes(50_000_000), write_content_size=True)
    short = magicless(bytes(10), write_content_size=False)
    codec = ZstdCodec(HIDDEN)
    for payload in (bomb, claimed, short):
        with pytest.raises(BitstreamError, match="zstd"):
            codec.decode(conformance.craft(codec, (100,), [payload]))


def test_claim_of_petabytes_is_refused_before_anything_is_allocated():
    header = bytes([0b11100000]) + (2**60).to_bytes(8, "little")  # single segment, content size in eight bytes
    codec = ZstdCodec(HIDDEN)
    with pytest.raises(BitstreamError):
        codec.decode(conformance.craft(codec, (100,), [header + bytes(20)]))


def test_a_frame_of_fewer_bytes_than_its_blocks_take_is_refused_before_anything_is_allocated(monkeypatch):
    codec = ZstdCodec(HIDDEN)
    zeros = hidden(np.zeros((4096, 4)))  # 64 KiB, of which each plane is a block that repeats a byte
    assert torch.equal(codec.decode(codec.encode(zeros))["hidden"], zeros["hidden"])
    larger = ZstdCodec(
        HIDDEN.model_copy(update={"tensors": (HIDDEN.tensors[0].model_copy(update={"shape": (T, 4096)}),)})
    )
    monkeypatch.delattr(zstandard, "ZstdDecompressor")
    with pytest.raises(BitstreamError, match="20 bytes of zstd cannot hold 67108864"):
        larger.decode(conformance.craft(larger, (4096,), [magicless(bytes(2**20))[:20]]))


def test_bytes_behind_the_frame_are_refused():
    codec = ZstdCodec(HIDDEN)
    [section] = codec._encode_sections(smooth_sample(10))
    with pytest.raises(BitstreamError):
        codec.decode(conformance.craft(codec, (10,), [section + b"junk"]))
    with pytest.raises(BitstreamError, match="no elements"):
        codec.decode(conformance.craft(codec, (0,), [section]))


# ----------------------------------------------------------------------------------------------------- mean


def test_mean_is_over_samples_and_ragged_axes_by_count():
    codec = MeanCodec(HIDDEN).fit(
        [hidden([[1.0, 2, 3, 4]]), hidden([[4.0, 2, 0, 0], [4, 2, 0, 2]]), hidden(np.empty((0, 4)))]
    )
    assert codec.state["hidden"].tolist() == [[3, 2, 1, 2]]
    decoded = codec.decode(codec.encode(hidden(np.ones((2, 4)))))
    assert decoded["hidden"].tolist() == [[3, 2, 1, 2]] * 2


def test_mean_sends_nothing_but_the_container():
    codec = MeanCodec(HIDDEN).fit([smooth_sample()])
    assert len(codec.encode(smooth_sample(4096))) == 7
    with pytest.raises(BitstreamError, match="sends nothing"):
        codec.decode(conformance.craft(codec, (3,), [b"x"]))


def test_mean_of_huge_values_is_finite():
    largest = torch.finfo(torch.float32).max
    codec = MeanCodec(HIDDEN).fit([hidden(torch.full((50, 4), largest))] * 3)
    assert codec.decode(codec.encode(hidden(np.zeros((1, 4)))))["hidden"].tolist() == [[largest] * 4]


@pytest.mark.parametrize("state", [{}, {"hidden": torch.zeros(4)}, {"hidden": torch.full((1, 4), float("nan"))}])
def test_means_of_a_stranger_are_checked(state):
    with pytest.raises(CodecError, match="mean"):
        MeanCodec(HIDDEN, None, state or {"other": torch.zeros(1)}).check_state()


# ---------------------------------------------------------------------------------------------- calibration


def test_moments_are_those_of_all_values_together():
    samples = [np.random.default_rng(n).normal(n, 1 + n, (n, 4)).astype(np.float32) for n in (0, 1, 7, 30)]
    together = np.concatenate(samples).astype(np.float64)
    whole = measure([hidden(s) for s in samples], HIDDEN, {"hidden": ()})["hidden"]
    assert whole.mean.item() == pytest.approx(together.mean()) and whole.std.item() == pytest.approx(together.std())
    channels = measure([hidden(s) for s in samples], HIDDEN, {"hidden": (1,)})["hidden"]
    assert channels.count == 38
    assert channels.mean[0] == pytest.approx(together.mean(axis=0))
    assert channels.std[0] == pytest.approx(together.std(axis=0))


def test_a_ragged_axis_has_no_statistics_of_its_own():
    assert channel_dims(TensorSpec(name="x", role="other", shape=(4, T), dtype="float32")) == ()
    assert channel_dims(TensorSpec(name="x", role="other", shape=(), dtype="float32")) == ()


def test_calibration_samples_are_checked_like_coded_ones():
    with pytest.raises(NonFiniteError, match="'hidden'"):
        MeanCodec(HIDDEN).fit([smooth_sample(), hidden([[0, 0, float("nan"), 0]])])
    with pytest.raises(ScenarioError, match="shape"):
        MeanCodec(HIDDEN).fit([smooth_sample(), hidden(np.zeros((3, 5)))])


def test_calibration_may_be_a_one_shot_iterator():
    samples = [smooth_sample(n) for n in (3, 5)]
    assert MeanCodec(HIDDEN).fit(iter(samples)).fingerprint == MeanCodec(HIDDEN).fit(samples).fingerprint
