import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamofcbench.codecs import entropy
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, frequencies_from_weights
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
    [[TOTAL], [TOTAL - 1, 0, 1], [TOTAL, -1, 1], [TOTAL, 1], [[TOTAL // 2, TOTAL // 2]], []],
    ids=["one symbol", "zero", "negative", "sum", "rank", "empty"],
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


def test_the_stream_costs_its_information_and_at_most_a_word():
    generator = np.random.default_rng(0)
    frequencies = frequencies_from_weights(np.array([90.0, 5.0, 3.0, 2.0]))
    symbols = generator.choice(4, 5000, p=frequencies / TOTAL).astype(np.int32)
    encoder = SymbolEncoder()
    encoder.put(symbols, FrequencyTable(frequencies))
    information = -np.log2(frequencies[symbols] / TOTAL).sum() / 8
    assert information - 1 <= len(encoder.finish()) <= information + 4


def test_bytes_are_the_same_in_every_version_and_on_every_machine():
    frequencies = frequencies_from_weights(np.array([900.0, 50.0, 30.0, 20.0]))
    symbols = np.array([0, 0, 1, 0, 3, 2, 0, 0, 1] * 20, np.int32)
    encoder = SymbolEncoder()
    encoder.put(symbols, FrequencyTable(frequencies))
    encoder.put_bits(np.array([5, 77, 1000], np.int32), 10)
    payload = encoder.finish()
    assert hashlib.sha256(payload).hexdigest()[:16] == "01d858534f288b40"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 500))
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


def test_a_panic_of_the_coder_is_a_bitstream_error():
    class PanicException(BaseException):  # the name under which pyo3 raises them
        pass

    with pytest.raises(BitstreamError, match="overflow"), entropy._coder_errors():
        raise PanicException("overflow")
    with pytest.raises(KeyboardInterrupt), entropy._coder_errors():
        raise KeyboardInterrupt
