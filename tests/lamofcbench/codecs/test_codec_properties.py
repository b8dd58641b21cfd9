"""Property-based tests of every registered codec: damaged bytes, hostile payloads, arbitrary features."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamofcbench.codecs import conformance
from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import BitstreamError

NAMES = [codec_class.name for codec_class in CODECS if not codec_class.unavailable()]
GRAINED = settings(max_examples=25, deadline=None)
DECODED = settings(max_examples=10, deadline=None)
"""Of examples that reach a codec's own decoder; the conformance suite sends each hundreds of payloads of its own."""


@functools.cache
def codec_of(name):
    return conformance.fitted(CODECS.get(name))


@functools.cache
def bitstream_of(name):
    return codec_of(name).encode(conformance.make_sample("heavy", 11, 2))


@GRAINED
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_refused(name, data):
    whole = bitstream_of(name)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BitstreamError):
        codec_of(name).decode(whole[:length])


@GRAINED
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_refused(name, data):
    damaged = bytearray(bitstream_of(name))
    for bit in data.draw(st.lists(st.integers(0, 8 * len(damaged) - 1), min_size=1, max_size=4, unique=True)):
        damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BitstreamError):
        codec_of(name).decode(bytes(damaged))


@GRAINED
@given(pair=st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda p: p[0] != p[1]))
def test_bitstreams_of_other_codecs_are_refused(pair):
    with pytest.raises(BitstreamError, match="another codec"):
        codec_of(pair[0]).decode(bitstream_of(pair[1]))


@GRAINED
@given(junk=st.binary(max_size=200))
@pytest.mark.parametrize("name", NAMES)
def test_arbitrary_bytes_are_refused(name, junk):
    with pytest.raises(BitstreamError):
        codec_of(name).decode(junk)


@DECODED
@given(payload=st.binary(max_size=120), tokens=st.integers(0, 40), frames=st.integers(0, 3))
@pytest.mark.parametrize("name", NAMES)
def test_arbitrary_payloads_in_a_valid_container_are_refused_or_decode_to_finite_values(name, payload, tokens, frames):
    codec = codec_of(name)
    count = conformance._section_count(codec)
    conformance.check_refused_or_valid(codec, (tokens, frames), [payload] * count)


@DECODED
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_arbitrary_finite_features_come_back_finite_in_their_shapes(name, data):
    features = conformance.make_sample("typical", data.draw(st.integers(0, 6)), data.draw(st.integers(0, 2)))
    for tensor in features.tensors.values():
        flat = tensor.view(-1)
        limits = torch.finfo(tensor.dtype)
        for position in range(min(flat.numel(), 8)):
            flat[position] = data.draw(st.floats(limits.min, limits.max))
    codec = codec_of(name)
    decoded = codec.decode(codec.encode(features))
    for key, tensor in decoded.tensors.items():
        assert tensor.shape == features[key].shape and torch.isfinite(tensor).all()
    if codec.lossless:
        assert conformance.digest(decoded) == conformance.digest(features)
