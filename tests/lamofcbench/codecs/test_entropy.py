import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamofcbench.codecs.entropy import (
    FrequencyTable,
    SymbolDecoder,
    SymbolEncoder,
    TableStack,
    frequencies_from_weights,
    least_bytes,
)
from lamofcbench.codecs.rans import words
from lamofcbench.errors import BitstreamError, CodecError

TOTAL = 2**24


@given(st.lists(st.floats(0, 1e30), min_size=2, max_size=300))
def test_frequencies_sum_to_the_coders_precision_and_leave_no_symbol_out(weights):
    frequencies = frequencies_from_weights(np.array(weights))
    assert frequencies.sum() == TOTAL and frequencies.min() >= 1 and frequencies.dtype == np.int32


def test_frequencies_follow_the_weights():
    assert frequencies_from_weights(np.array([1.0, 2.0, 1.0])).tolist() == [TOTAL // 4, TOTAL // 2, TOTAL // 4]
    assert frequencies_from_weights(np.zeros(4)).tolist() == [TOTAL // 4] * 4
    rare = frequencies_from_weights(np.array([1.0] + [1e-12] * 1000))
    assert rare[1:].tolist() == [1] * 1000 and rare[0] == TOTAL - 1000


@pytest.mark.parametrize(
    "frequencies",
    [[TOTAL], [TOTAL - 1, 0, 1], [TOTAL, -1, 1], [TOTAL, 1], [[TOTAL // 2, TOTAL // 2]], [], [2**9] * 2**15],
    ids=["one symbol", "zero", "negative", "sum", "rank", "empty", "many symbols"],
)
def test_a_table_that_is_none_is_refused(frequencies):
    with pytest.raises(CodecError, match="frequency"):
        FrequencyTable(np.array(frequencies, np.int32))


@settings(deadline=None)
@given(st.data())
def test_what_goes_in_comes_out_in_the_same_order(data):
    tables = [FrequencyTable(frequencies_from_weights(np.arange(1.0, n + 2))) for n in (1, 5, 200)]
    parts = []
    for _ in range(data.draw(st.integers(0, 6))):
        table = data.draw(st.sampled_from([0, 1, 2]))
        values = data.draw(st.lists(st.integers(0, [1, 5, 200][table]), max_size=30))
        parts.append((table, np.array(values, np.int32)))
    bits = np.array(data.draw(st.lists(st.integers(0, 2**24 - 1), max_size=5)), np.int32)

    encoder = SymbolEncoder()
    for table, values in parts:
        encoder.put(values, tables[table])
    encoder.put_bits(bits, 24)
    decoder = SymbolDecoder(encoder.finish())
    for table, values in parts:
        assert decoder.take(len(values), tables[table]).tolist() == values.tolist()
    assert decoder.take_bits(len(bits), 24).tolist() == bits.tolist()
    decoder.finish()


def test_nothing_costs_nothing():
    assert SymbolEncoder().finish() == b""
    decoder = SymbolDecoder(b"")
    decoder.finish()


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_costs_its_information_rounded_up_and_at_most_two_bytes(seed):
    generator = np.random.default_rng(seed)
    frequencies = frequencies_from_weights(np.array([90.0, 5.0, 3.0, 2.0]) ** generator.uniform(0, 2))
    symbols = generator.choice(4, generator.integers(1, 3000), p=frequencies / TOTAL).astype(np.int32)
    encoder = SymbolEncoder()
    encoder.put(symbols, FrequencyTable(frequencies))
    information = -np.log2(frequencies[symbols] / TOTAL).sum() / 8
    assert information * 0.999 - 2 <= len(encoder.finish()) <= np.ceil(information) + 2


def test_a_long_stream_costs_its_information_and_a_thousandth():
    generator = np.random.default_rng(0)
    frequencies = frequencies_from_weights(np.exp(-np.abs(np.arange(-400, 400)) / 3.0))
    symbols = generator.choice(800, 100_000, p=frequencies / TOTAL).astype(np.int32)
    encoder = SymbolEncoder()
    encoder.put(symbols, FrequencyTable(frequencies))
    information = -np.log2(frequencies[symbols] / TOTAL).sum() / 8
    assert len(encoder.finish()) <= information * 1.001


def mixed_tables():
    """A flat one, one of which nearly all is one symbol, and one of many symbols that hardly occur."""
    weights = [np.ones(5), np.array([1e7, 1.0, 1.0]), np.exp(-np.abs(np.arange(-300.0, 301.0)) / 8)]
    return TableStack([FrequencyTable(frequencies_from_weights(each)) for each in weights])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 1000, 60_000])
def test_symbols_may_have_a_table_each(count):
    generator, tables = np.random.default_rng(count), mixed_tables()
    numbers = generator.integers(0, 3, count)
    symbols = (generator.random(count) * np.array([5, 3, 601])[numbers]).astype(np.int32)
    encoder = SymbolEncoder()
    encoder.put_indexed(symbols, numbers, tables)
    encoder.put_indexed(np.repeat(symbols[:7], 10), numbers[:7], tables)
    decoder = SymbolDecoder(encoder.finish())
    assert (decoder.take_indexed(numbers, tables) == symbols).all()
    assert (decoder.take_indexed(numbers[:7], tables, each=10) == np.repeat(symbols[:7], 10)).all()
    decoder.finish()


def test_a_table_for_all_symbols_and_a_table_for_each_give_the_same_bytes():
    tables = mixed_tables()
    symbols = np.array([0, 300, 600, 299, 301] * 50, np.int32)
    by_run, by_symbol = SymbolEncoder(), SymbolEncoder()
    by_run.put(symbols, FrequencyTable(frequencies_from_weights(np.exp(-np.abs(np.arange(-300.0, 301.0)) / 8))))
    by_symbol.put_indexed(symbols, np.full(len(symbols), 2), tables)
    assert by_run.finish() == by_symbol.finish()


def test_table_numbers_that_are_none_are_refused_before_anything_is_read():
    tables, symbols = mixed_tables(), np.zeros(4, np.int32)
    for numbers in ([0, 1, 2, 3], [-1, 0, 0, 0]):
        with pytest.raises(IndexError, match="stack of 3 tables"):
            SymbolEncoder().put_indexed(symbols, np.array(numbers), tables)
        with pytest.raises(IndexError, match="stack of 3 tables"):
            SymbolDecoder(b"").take_indexed(np.array(numbers), tables)
    with pytest.raises(ValueError, match="evenly"):
        SymbolEncoder().put_indexed(symbols, np.array([0, 1, 2]), tables)


@pytest.mark.parametrize("symbol", [-1, 4, 2**31 - 1, -(2**31)])
def test_a_symbol_that_its_table_lacks_is_refused(symbol):
    encoder = SymbolEncoder()
    encoder.put(np.array([0, symbol], np.int32), FrequencyTable(frequencies_from_weights(np.ones(4))))
    with pytest.raises(CodecError, match="alphabet"):
        encoder.finish()
    encoder = SymbolEncoder()
    encoder.put_bits(np.array([symbol], np.int32), 2)
    with pytest.raises(CodecError, match="more bits"):
        encoder.finish()


@pytest.mark.parametrize("width", [-1, 32])
def test_integers_have_at_most_31_bits(width):
    with pytest.raises(ValueError, match="bits"):
        SymbolEncoder().put_bits(np.zeros(1, np.int32), width)
    with pytest.raises(ValueError, match="bits"):
        SymbolDecoder(b"").take_bits(1, width)


@pytest.mark.parametrize("extra", range(-3, 4))
def test_streams_about_the_size_from_which_there_are_four_lanes(extra):
    values = np.arange(words.LANES_FROM + extra, dtype=np.int32) & 0xFF
    for least in (0, words.LANES_FROM, words.LANES_FROM + 1):
        encoder = SymbolEncoder(least)
        encoder.put_bits(values, 8)
        payload = encoder.finish()
        decoder = SymbolDecoder(payload, least)
        assert (decoder.take_bits(len(values), 8) == values).all()
        decoder.finish()
        assert len(payload) <= max(len(values) + 16, words.LANES_FROM, least)


def test_a_stream_that_costs_nothing_is_filled_up_whatever_its_size():
    table = FrequencyTable(frequencies_from_weights(np.array([3.0, 1.0])))
    least = least_bytes(400_000 * table.least_cost)
    assert least < words.LANES_FROM < least_bytes(2_000_000 * table.least_cost)
    for count in (400_000, 2_000_000):
        least = least_bytes(count * table.least_cost)
        encoder = SymbolEncoder(least)
        encoder.put(np.zeros(count, np.int32), table)
        decoder = SymbolDecoder(encoder.finish(), least)
        assert not decoder.take(count, table).any()
        decoder.finish()


def test_bytes_are_the_same_in_every_version_and_on_every_machine():
    frequencies = frequencies_from_weights(np.array([900.0, 50.0, 30.0, 20.0]))
    symbols = np.array([0, 0, 1, 0, 3, 2, 0, 0, 1] * 20, np.int32)
    encoder = SymbolEncoder()
    encoder.put(symbols, FrequencyTable(frequencies))
    encoder.put_bits(np.array([5, 77, 1000], np.int32), 10)
    payload = encoder.finish()
    assert hashlib.sha256(payload).hexdigest()[:16] == "233f4d18b1e1bc82"


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.binary(max_size=60), st.binary(min_size=1).map(lambda b: (b * 2**14)[: 2**14 + len(b)])),
    st.integers(0, 500),
)
def test_random_bytes_decode_to_symbols_of_the_alphabet_or_are_refused(payload, count):
    table = FrequencyTable(frequencies_from_weights(np.array([5.0, 4.0, 3.0])))
    try:
        decoder = SymbolDecoder(payload)
        symbols = decoder.take(count, table)
        assert symbols.shape == (count,) and (count == 0 or 0 <= symbols.min() <= symbols.max() <= 2)
        decoder.take_bits(3, 7)
        decoder.finish()
    except BitstreamError:
        pass


def test_bytes_that_are_left_over_are_refused():
    table = FrequencyTable(frequencies_from_weights(np.array([1.0, 1.0])))
    encoder = SymbolEncoder()
    encoder.put(np.array([0, 1] * 40, np.int32), table)
    decoder = SymbolDecoder(encoder.finish())
    decoder.take(40, table)
    with pytest.raises(BitstreamError, match="end"):
        decoder.finish()
