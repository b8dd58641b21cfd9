import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder, frequencies_from_weights
from lamofcbench.errors import BitstreamError, CodecError

FLAT_TABLE = FrequencyTable(frequencies_from_weights(np.ones(integers.ALPHABET)))


def round_trip(values, originals=None, scale=1.0):
    originals = values.astype(np.float32) if originals is None else originals
    tokens = integers.tokenise(values, originals)
    encoder = SymbolEncoder()
    encoder.put(tokens.symbols, FLAT_TABLE)
    tokens.put_extras(encoder)
    decoder = SymbolDecoder(encoder.finish())
    symbols = decoder.take(values.size, FLAT_TABLE).reshape(values.shape)
    decoded, raw, sent = integers.detokenise(symbols, scale, decoder)
    decoder.finish()
    decoded.reshape(-1)[raw] = sent
    return decoded


def test_every_small_integer_survives():
    values = np.arange(-5000.0, 5001.0)
    assert (round_trip(values) == values).all()


def test_boundaries_of_classes_survive():
    powers = 2.0 ** np.arange(25)
    values = np.unique(np.concatenate([s * (powers + d) for s in (1, -1) for d in (-1, 0, 1)]))
    values = values[np.abs(values) < 2**24]
    assert (round_trip(values) == values).all()


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=40), st.floats(1e-30, 1e30))
def test_any_finite_float_survives_any_step_to_half_a_step(originals, step):
    originals = np.array(originals, np.float32)
    integer = np.rint(originals.astype(np.float64) / step)
    decoded = round_trip(integer, originals, scale=step)
    assert (np.abs(decoded - originals) <= step / 2 * (1 + 1e-9)).all()


def test_cost_grows_with_the_logarithm():
    table = FrequencyTable(integers.learned_frequencies(np.zeros(integers.ALPHABET, np.int64), spread=4.0))

    def bits(value):
        tokens = integers.tokenise(np.full(1000, value), np.full(1000, value, np.float32))
        encoder = SymbolEncoder()
        encoder.put(tokens.symbols, table)
        tokens.put_extras(encoder)
        return len(encoder.finish()) * 8 / 1000

    costs = [bits(v) for v in (0.0, 10.0, 100.0, 1e4, 1e6, 1e30)]
    assert costs == sorted(costs) and costs[0] < 4 and costs[-1] < 64


def test_prior_gives_every_token_a_chance_and_peaks_at_zero():
    for spread in (0.0, 0.01, 1.0, 300.0, 1e9):
        frequencies = integers.learned_frequencies(np.zeros(integers.ALPHABET, np.int64), spread)
        assert frequencies.min() >= 1 and frequencies.sum() == 2**24
        assert frequencies[integers.ZERO] == frequencies[integers.ZERO - 5 : integers.ZERO + 6].max()


def test_counts_outweigh_the_prior():
    counts = np.zeros(integers.ALPHABET, np.int64)
    counts[integers.ZERO + 3] = 10**6
    frequencies = integers.learned_frequencies(counts, spread=1.0)
    assert frequencies[integers.ZERO + 3] > 0.999 * 2**24


def test_infinity_sent_as_it_is_is_refused():
    encoder = SymbolEncoder()
    encoder.put(np.array([integers.RAW], np.int32), FLAT_TABLE)
    words = np.array([np.inf], np.float32).view(np.uint32)
    encoder.put_bits((words & 0xFFFF).astype(np.int32), 16)
    encoder.put_bits((words >> 16).astype(np.int32), 16)
    decoder = SymbolDecoder(encoder.finish())
    with pytest.raises(BitstreamError, match="not finite"):
        integers.detokenise(decoder.take(1, FLAT_TABLE), 1.0, decoder)


def test_a_table_of_another_alphabet_is_refused():
    with pytest.raises(CodecError, match="token table"):
        integers.table(frequencies_from_weights(np.ones(7)))


def test_values_keep_their_shape_and_may_be_none():
    assert round_trip(np.zeros((3, 0, 2))).shape == (3, 0, 2)
    values = np.array([[1.0, -700.0], [0.0, 12345.0]])
    assert (round_trip(values) == values).all()
