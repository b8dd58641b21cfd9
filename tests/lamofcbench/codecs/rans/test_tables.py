import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamofcbench.codecs.entropy import frequencies_from_weights
from lamofcbench.codecs.rans import tables

WEIGHTS = st.lists(st.floats(0, 1e6), min_size=2, max_size=400)


@settings(deadline=None)
@given(WEIGHTS)
def test_every_symbol_has_an_entry_in_exactly_one_table_and_each_table_is_full(weights):
    frequencies = frequencies_from_weights(np.array(weights)).astype(np.int64)
    kept, entries = tables.first_table(frequencies)
    rare, rare_entries = tables.second_table(frequencies)
    own = kept[kept != tables.ESCAPE]
    assert sorted([*own.tolist(), *rare.tolist()]) == list(range(len(weights)))
    assert entries.sum() == tables.TOTAL and entries.min() >= 1
    assert (kept[-1] == tables.ESCAPE) == (rare.size > 0)
    assert not rare.size or (rare_entries.sum() == tables.TOTAL and rare_entries.min() >= 1)
    assert (np.diff(frequencies[own]) <= 0).all() and (np.diff(frequencies[rare]) <= 0).all()


@pytest.mark.parametrize("count", [2, 3, 10_000, 2**14])
def test_as_many_symbols_as_a_table_can_have_still_fit(count):
    for weights in (np.ones(count), np.arange(1.0, count + 1), 2.0 ** -np.minimum(np.arange(count), 900)):
        frequencies = frequencies_from_weights(weights).astype(np.int64)
        for symbols, entries in (tables.first_table(frequencies), tables.second_table(frequencies)):
            assert entries.size == symbols.size
            assert not entries.size or (entries.sum() == tables.TOTAL and entries.min() >= 1)


def test_symbols_that_hardly_occur_cost_the_others_next_to_nothing():
    """At 14 bits, 800 entries of one part each would take a twentieth of the probability."""
    weights = np.full(800, 1e-9)
    weights[400] = 1.0
    frequencies = frequencies_from_weights(weights).astype(np.int64)
    symbols, entries = tables.first_table(frequencies)
    assert symbols.tolist() == [400, tables.ESCAPE] and entries.tolist() == [tables.TOTAL - 1, 1]
    rare, rare_entries = tables.second_table(frequencies)
    assert len(rare) == 799 and rare_entries.max() - rare_entries.min() <= 204  # what rounding leaves goes to the first


def test_what_14_bits_lose_is_less_than_a_thousandth_of_the_rate():
    for deviation in (0.15, 0.3, 1.0, 5.0, 40.0):
        z = np.arange(-400, 401)
        weights = 0.99 * np.exp(-np.abs(z) / deviation) + 0.01 / (1 + (z / deviation) ** 2)
        frequencies = frequencies_from_weights(weights).astype(np.int64)
        p = frequencies / frequencies.sum()
        cost = np.empty(len(z))
        (symbols, entries), (rare, rare_entries) = tables.first_table(frequencies), tables.second_table(frequencies)
        own = symbols[symbols != tables.ESCAPE]
        cost[own] = 14 - np.log2(entries[: len(own)])
        cost[rare] = 28 - np.log2(entries[-1]) - np.log2(rare_entries)
        entropy = -(p * np.log2(p)).sum()
        assert (p * cost).sum() <= entropy * 1.001
