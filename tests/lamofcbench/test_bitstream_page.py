"""`docs/bitstream.md` and the library say the same: a decoder written from the page alone reads what codecs write."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import stranger
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamofcbench.bitstream import BitstreamWriter
from lamofcbench.codecs import conformance, integers
from lamofcbench.codecs.calibration import channel_dims
from lamofcbench.codecs.channel import ChannelCodec
from lamofcbench.codecs.entropy import (
    FrequencyTable,
    SymbolDecoder,
    SymbolEncoder,
    TableStack,
    frequencies_from_weights,
)
from lamofcbench.codecs.uniform import UniformCodec
from lamofcbench.features import TORCH_DTYPES, FeatureSet
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

PAGE = (Path(__file__).parents[2] / "docs" / "bitstream.md").read_text()
EXAMPLE = np.array([8388608, 4194304, 4194004, 300], np.int32)


def example(name):
    return re.search(rf"<!-- example: {name} -->\n(.*?)\n\n", PAGE, re.DOTALL)[1]


# ------------------------------------------------------------------------------------------------ the page's example


def test_the_library_writes_the_bytes_of_the_example():
    encoder = SymbolEncoder()
    encoder.put(np.array([0, 3, 2, 3, 1], np.int32), FrequencyTable(EXAMPLE))
    encoder.put_bits(np.array([5], np.int32), 3)
    payload = encoder.finish()
    assert payload == bytes.fromhex(example("payload"))
    writer = BitstreamWriter(bytes(32))
    writer.unsigned(300)
    assert writer.finish([payload], [10]) == bytes.fromhex(example("bitstream"))


def test_decoding_the_example_takes_the_steps_of_the_page():
    sizes, side, (payload,) = stranger.open_container(
        bytes.fromhex(example("bitstream")), bytes(32), 1, 0, lambda sizes: [10]
    )
    assert (sizes, side) == ([300], [])
    stream, tables = stranger.Stream(payload), stranger.coder_tables(EXAMPLE.tolist())
    assert [stream.symbol(tables) for _ in range(5)] == [0, 3, 2, 3, 1] and stream.bits(3) == 5 and stream.ends()
    rows = [re.findall(r"[^|`\s][^|`]*[^|`\s]|[^|`\s]", row) for row in example("steps").splitlines()[2:]]
    found = [
        [f"{before:08x}", str(slot), str(entry), f"{after:08x}", *([] if word is None else [f"{word:04x}"])]
        for before, slot, entry, after, word in stream.log
    ]
    assert rows == found


# ------------------------------------------------------------------------------------------------- any table and stream

WEIGHTS = st.lists(st.floats(0, 1e9), min_size=2, max_size=60)


@settings(deadline=None)
@given(st.lists(WEIGHTS, min_size=1, max_size=3), st.data())
def test_whatever_is_coded_a_stranger_decodes(weights, data):
    frequencies = [frequencies_from_weights(np.array(each)) for each in weights]
    stack = TableStack([FrequencyTable(each) for each in frequencies])
    numbers = data.draw(st.lists(st.integers(0, len(weights) - 1), max_size=40))
    symbols = [data.draw(st.integers(0, len(weights[number]) - 1)) for number in numbers]
    width = data.draw(st.integers(1, 24))
    values = data.draw(st.lists(st.integers(0, 2**width - 1), max_size=10))
    encoder = SymbolEncoder()
    encoder.put_indexed(np.array(symbols, np.int32), np.array(numbers, np.int64), stack)
    encoder.put_bits(np.array(values, np.int32), width)
    stream = stranger.Stream(encoder.finish())
    tables = [stranger.coder_tables(each.tolist()) for each in frequencies]
    assert [stream.symbol(tables[number]) for number in numbers] == symbols
    assert [stream.bits(width) for _ in values] == values
    assert stream.ends()


@pytest.mark.parametrize("count", [2**14 - 1, 2**14, 2**14 + 7])
def test_streams_of_one_lane_and_of_four(count):
    values = np.random.default_rng(count).integers(0, 256, count).astype(np.int32)
    encoder = SymbolEncoder()
    encoder.put_bits(values, 8)
    stream = stranger.Stream(encoder.finish())
    assert [stream.bits(8) for _ in values] == values.tolist() and stream.ends()
    assert stream.lanes == (1 if count < 2**14 else 4)


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.binary(max_size=40), st.binary(min_size=1).map(lambda part: (part * 2**14)[: 2**14 + len(part)])))
def test_random_bytes_mean_the_same_to_both(payload):
    payload = payload.rstrip(b"\0")
    if 2**14 - 8 <= len(payload) < 2**14:
        return
    frequencies = frequencies_from_weights(np.exp(-np.abs(np.arange(-20.0, 21.0))))
    decoder, stream = SymbolDecoder(payload), stranger.Stream(payload)
    tables = stranger.coder_tables(frequencies.tolist())
    assert decoder.take(50, FrequencyTable(frequencies)).tolist() == [stream.symbol(tables) for _ in range(50)]
    assert decoder.take_bits(3, 20).tolist() == [stream.bits(20) for _ in range(3)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 10**6)), min_size=1, max_size=8), st.integers(-99, 99)
)
def test_containers_of_any_sections(pairs, side):
    sections, raw_sizes = map(list, zip(*pairs, strict=True))
    writer = BitstreamWriter(b"f" * 32)
    writer.unsigned(12345)
    writer.signed(side)
    opened = stranger.open_container(writer.finish(sections, raw_sizes), b"f" * 32, 1, 1, lambda sizes: raw_sizes)
    assert opened == ([12345], [side], sections)


# ----------------------------------------------------------------------------------------------------- whole codecs

T = Axis(name="tokens", limit=2**16)
SPECS = FeatureSpecs(
    tensors=(
        TensorSpec(name="key.0", role="key", shape=(2, T, 4), dtype="bfloat16"),
        TensorSpec(name="latent", role="latent", shape=(3, 5, 5), dtype="float16"),
        TensorSpec(name="hidden", role="hidden", shape=(T, 8), dtype="float32"),
    )
)


def sample(tokens, seed, massive=0.0):
    generator = np.random.default_rng(seed)
    tensors = {spec.name: generator.standard_t(3, spec.sized({"tokens": tokens})) for spec in SPECS.tensors}
    if massive:
        tensors["hidden"][0, 3] = massive
    return FeatureSet({name: torch.from_numpy(values) for name, values in tensors.items()}).cast(SPECS)


def stored(values, shape, dtype):
    largest = np.finfo(np.float32).max
    single = torch.from_numpy(np.clip(np.array(values, np.float64), -largest, largest).astype(np.float32))
    limit = torch.finfo(TORCH_DTYPES[dtype]).max
    return single.clamp(-limit, limit).to(TORCH_DTYPES[dtype]).reshape(shape)


def read(codec, data, decode):
    """What a stranger makes of a bitstream, tensor by tensor."""
    sizes, _, (payload,) = stranger.open_container(data, codec.fingerprint, 1, 0, lambda sizes: [0])
    stream = stranger.Stream(payload)
    tables = [stranger.coder_tables(row.tolist()) for row in codec.state["frequencies"].int()]
    steps = codec.state["steps"].double().tolist()
    tensors = {}
    for index, spec in enumerate(SPECS.tensors):
        shape = spec.sized({"tokens": sizes[0]})
        tensors[spec.name] = stored(decode(stream, tables, spec, index, shape, steps[index]), shape, spec.dtype)
    assert stream.ends()
    return tensors


@pytest.mark.parametrize("massive", [0.0, 1e4, 1e30])
@pytest.mark.parametrize("tokens", [0, 1, 6])
def test_a_stranger_decodes_uniform(tokens, massive):
    codec = UniformCodec(SPECS, {"step": 0.3}).fit([sample(9, seed) for seed in range(3)])
    features = sample(tokens, 9, massive if tokens else 0.0)

    def decode(stream, tables, spec, index, shape, step):
        symbols = [stream.symbol(tables[index]) for _ in range(math.prod(shape))]
        return [value for _, value in stranger.read_values(stream, symbols, step)]

    data = codec.encode(features)
    decoded, found = codec.decode(data), read(codec, data, decode)
    assert all(torch.equal(decoded[name], tensor) for name, tensor in found.items())


@pytest.mark.parametrize("massive", [0.0, 1e4, 1e30])
@pytest.mark.parametrize("tokens", [0, 1, 6])
def test_a_stranger_decodes_channel(tokens, massive):
    codec = ChannelCodec(SPECS, {"step": 0.3}).fit([sample(9, seed) for seed in range(3)])
    features = sample(tokens, 9, massive if tokens else 0.0)

    def decode(stream, tables, spec, index, shape, step):
        kept = channel_dims(spec)
        means, numbers = codec.state[f"mean.{spec.name}"].double().tolist(), codec.state[f"table.{spec.name}"].tolist()
        order = sorted(range(len(numbers)), key=lambda channel: (numbers[channel], channel))
        rows = math.prod(size for dim, size in enumerate(shape) if dim not in kept)
        symbols = [stream.symbol(tables[numbers[channel]]) for channel in order for _ in range(rows)]
        values = stranger.read_values(stream, symbols, step)
        by_channel = np.empty((len(order), rows))
        for place, (kind, value) in enumerate(values):
            channel = order[place // rows]
            by_channel[channel, place % rows] = value + means[channel] if kind == "scaled" else value
        axes = [*kept, *(dim for dim in range(len(shape)) if dim not in kept)]
        return by_channel.reshape([shape[dim] for dim in axes]).transpose(np.argsort(axes))

    data = codec.encode(features)
    decoded, found = codec.decode(data), read(codec, data, decode)
    assert all(torch.equal(decoded[name], tensor) for name, tensor in found.items())


def test_the_page_names_the_numbers_that_the_library_has():
    assert integers.ALPHABET == 800 and integers.ZERO == 399 and integers.RAW == 799
    for symbol in range(799):
        sign, magnitude, width = stranger.token_class(symbol)
        assert integers.TOKEN_BASE[symbol] == sign * magnitude and integers.TOKEN_WIDTH[symbol] == width
    assert conformance.OVERHEAD_BYTES >= 1 + 2 + 4
