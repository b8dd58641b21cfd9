"""A short payload that claims a large shape is refused before anything is made of it."""

import tracemalloc

import numpy as np
import pytest
import torch

from lamofcbench.codecs import conformance, entropy
from lamofcbench.codecs.cachegen import CachegenCodec
from lamofcbench.codecs.channel import ChannelCodec
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, frequencies_from_weights
from lamofcbench.codecs.kivi import KiviCodec, KiviEntropyCodec
from lamofcbench.codecs.kmeans import KmeansCodec
from lamofcbench.codecs.kvtc import KvtcCodec, KvtcEntropyCodec
from lamofcbench.codecs.quarot import QuarotCodec, QuarotEntropyCodec
from lamofcbench.codecs.rans import tables as rans_tables
from lamofcbench.codecs.turboquant import TurboquantCodec, TurboquantEntropyCodec
from lamofcbench.codecs.uniform import UniformCodec
from lamofcbench.codecs.zstd import ZstdCodec
from lamofcbench.errors import BitstreamError
from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

LIMIT = 2**24
T = Axis(name="tokens", limit=LIMIT)
SPECS = FeatureSpecs(
    tensors=(
        TensorSpec(name="key.0", role="key", shape=(2, T, 4), dtype="float32"),
        TensorSpec(name="hidden", role="hidden", shape=(T, 16), dtype="float32"),
    )
)
BOUNDED = [
    UniformCodec,
    ChannelCodec,
    KmeansCodec,
    KiviCodec,
    KiviEntropyCodec,
    QuarotCodec,
    QuarotEntropyCodec,
    ZstdCodec,
    KvtcCodec,
    KvtcEntropyCodec,
    TurboquantCodec,
    TurboquantEntropyCodec,
    CachegenCodec,
]


def make(tokens, seed=0, factor=1.0, shift=0.0):
    generator = np.random.default_rng(seed)
    shapes = {"key.0": (2, tokens, 4), "hidden": (tokens, 16)}
    return FeatureSet({n: torch.from_numpy(generator.normal(shift, 1, s) * factor).float() for n, s in shapes.items()})


def fitted(codec_class, **params):
    return codec_class(SPECS, params).fit([make(50, seed) for seed in range(3)])


def peak_bytes(action):
    tracemalloc.start()
    try:
        action()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("codec_class", BOUNDED, ids=lambda c: c.name)
@pytest.mark.parametrize("payload", [b"", bytes(64), b"\xff" * 1000], ids=["empty", "zeros", "ones"])
def test_a_short_payload_does_not_grow_to_what_the_limits_allow(codec_class, payload):
    codec = fitted(codec_class)
    codec.decode(codec.encode(make(2)))  # makes its tables
    sections = [payload] * conformance._section_count(codec)

    def decode():
        with pytest.raises(BitstreamError):
            codec.decode(conformance.craft(codec, (LIMIT,), sections))

    assert peak_bytes(decode) < 2**20


@pytest.mark.parametrize("codec_class", BOUNDED, ids=lambda c: c.name)
def test_it_makes_no_difference_to_which_honest_samples_can_be_coded(codec_class):
    codec = fitted(codec_class)
    for tokens in (0, 1, 400):
        for features in (make(tokens), make(tokens, factor=0.0), make(tokens, shift=-1e6), make(tokens, factor=1e9)):
            decoded = codec.decode(codec.encode(features))
            assert decoded["hidden"].shape == (tokens, 16) and bool(torch.isfinite(decoded["hidden"]).all())


def test_a_sample_whose_symbols_cost_nothing_is_filled_up_to_the_least_size():
    codec = fitted(KmeansCodec, points=4)
    features = make(400, factor=0.0, shift=0.0)
    index = [int(table.frequencies.argmax()) for _, table in codec._coders]  # the most frequent point: no bits
    points = [float(codec.state["points"][row, column]) for row, column in enumerate(index)]
    lowest = FeatureSet({n: t + point for (n, t), point in zip(features.tensors.items(), points, strict=True)})
    payload = codec._encode_sections(lowest)[0]
    assert payload == bytes(len(payload)) and len(payload) > 0
    decoded = codec.decode(codec.encode(lowest))
    assert all(len(tensor.unique()) == 1 for tensor in decoded.tensors.values())


def coded(symbols, frequencies, least):
    encoder = SymbolEncoder(least)
    encoder.put(np.array(symbols, np.int32), FrequencyTable(frequencies_from_weights(np.array(frequencies))))
    return encoder.finish()


def test_filling_up_is_zero_bytes_that_no_other_stream_ends_in():
    assert coded([1, 0, 1] * 20, [1.0, 1.0], 0) == coded([1, 0, 1] * 20, [1.0, 1.0], 3)
    assert coded([0] * 100, [1.0, 1.0], 5) == bytes(5)
    table = FrequencyTable(frequencies_from_weights(np.array([1.0, 1.0])))
    short = coded([0] * 90 + [1], [1.0, 1.0], 20)
    assert len(short) == 20
    decoder = SymbolDecoder(short, 20)
    assert decoder.take(91, table).tolist() == [0] * 90 + [1]
    decoder.finish()
    for payload, least, complaint in (
        (short[:-1], 20, "too few"),
        (short + b"\0", 20, "zero byte"),
        (short, 0, "zero byte"),
    ):
        with pytest.raises(BitstreamError, match=complaint):
            SymbolDecoder(payload, least)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [3.0, 1.0], [1e9, 1.0], [1.0] * 256, [5.0, 4.0, 3.0]])
def test_the_least_cost_is_that_of_the_most_frequent_symbol_rounded_down(weights):
    frequencies = frequencies_from_weights(np.array(weights))
    exact = -np.log2(np.max(rans_tables.first_table(frequencies.astype(np.int64))[1]) / rans_tables.TOTAL)
    assert (
        exact - 1 / entropy.COST_UNITS <= FrequencyTable(frequencies).least_cost / entropy.COST_UNITS <= exact + 1e-12
    )


def test_ordinary_streams_are_far_longer_than_the_least(monkeypatch):
    """So the bytes are those that the codecs wrote before there was a least size."""
    for codec_class in (UniformCodec, ChannelCodec, KmeansCodec, KiviEntropyCodec, QuarotEntropyCodec):
        for point in codec_class.rate_points:
            codec, features = fitted(codec_class, **point), make(60, 9)
            with monkeypatch.context() as patch:
                before = codec._encode_sections(features)
                patch.setattr(entropy, "LEAST_SHARE", 2)  # even were the least size twice as large
                assert codec._encode_sections(features) == before
