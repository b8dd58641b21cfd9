"""Levels are chosen by what rows cost, and every level that a row may have is read back."""

import numpy as np
import pytest

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import FrequencyTable, SymbolDecoder, SymbolEncoder
from lamofcbench.codecs.rans import compiling
from lamofcbench.codecs.transform import levels
from lamofcbench.codecs.transform.classes import LOWEST, MAGNITUDES, classes_of
from lamofcbench.codecs.transform.levels import (
    COUNT,
    SHIFTS,
    USUAL,
    Costs,
    Levels,
    choose_levels,
    level_frequencies,
    levels_table,
    put_foreign,
    take_foreign,
)

USUAL_TABLE = FrequencyTable(level_frequencies())
NO_PLACE = np.empty(0, np.intp)
WIDTH = 64


@pytest.fixture(scope="module")
def costs():
    nothing = np.zeros(integers.ALPHABET, np.int64)
    tables = [integers.learned_frequencies(nothing, 2.0 ** ((LOWEST + number) / 4)) for number in range(60)]
    return Costs.of(np.stack(tables), np.zeros((60, MAGNITUDES), np.float32))


def numbers(deviation):
    return np.full((1, WIDTH), classes_of(np.array(deviation), 1.0) - LOWEST, np.int16)


def rows(deviation, count=20, seed=0):
    return np.random.default_rng(seed).normal(0, deviation, (count, WIDTH)).astype(np.float32)


def chosen(values, tables, costs, bounded=NO_PLACE):
    profiles = np.zeros(len(values), np.intp)
    return choose_levels(values, tables, profiles, bounded, costs, USUAL_TABLE).numbers


@pytest.mark.parametrize("octaves", [-1, 0, 1, 2, 3])
def test_a_row_gets_the_shift_by_which_it_deviates(costs, octaves):
    found = chosen(rows(4.0 * 2.0**octaves), numbers(4.0), costs)
    assert np.abs(np.array(SHIFTS)[found] - 4 * octaves).max() <= 2


def test_without_a_bound_steps_stay_whole_and_with_one_they_are_halved(costs):
    values = rows(2.0)
    assert (chosen(values, numbers(0.1), costs) < len(SHIFTS)).all()
    halved = Levels(chosen(values, numbers(0.1), costs, np.zeros(1, np.intp)))
    assert (halved.gains > 1).all()
    finest = values * halved.gains
    left = np.square((finest - np.rint(finest)) / halved.gains).sum(1)
    assert (left < 2 * levels.TOLERANCE * WIDTH * 0.1**2).mean() > 0.5 or (halved.gains == 8).all()


def test_rows_within_their_bound_are_left_alone(costs):
    values = rows(0.1)
    assert (chosen(values, numbers(0.1), costs, np.zeros(1, np.intp)) == USUAL).all()


def test_plain_python_chooses_the_same(costs, monkeypatch):
    values = rows(np.geomspace(0.1, 8, WIDTH), 4)
    places = np.zeros(1, np.intp)
    compiled = chosen(values, numbers(0.5), costs, places)
    kernels = levels._kernels()
    if not compiling.compiled():
        pytest.skip("nothing is compiled here")
    as_lists = type("Plain", (), {"choose": kernels.choose.py_func})
    monkeypatch.setattr(levels, "_kernels", lambda: as_lists)
    assert chosen(values, numbers(0.5), costs, places).tolist() == compiled.tolist()


@pytest.mark.parametrize("foreign", [False, True])
def test_every_level_comes_back(foreign):
    encoder, table = SymbolEncoder(), levels_table(foreign, USUAL_TABLE)
    put_foreign(encoder, foreign)
    Levels(np.arange(COUNT, dtype=np.int32)).encode(encoder, table)
    decoder = SymbolDecoder(encoder.finish())
    assert take_foreign(decoder) is foreign
    assert Levels.decode(decoder, COUNT, table).numbers.tolist() == list(range(COUNT))
    decoder.finish()


def test_familiar_samples_pay_next_to_nothing():
    table = FrequencyTable(level_frequencies(np.bincount(np.full(4000, USUAL), minlength=COUNT)))
    encoder = SymbolEncoder()
    put_foreign(encoder, False)
    Levels(np.full(100, USUAL, np.int32)).encode(encoder, table)
    assert len(encoder.finish()) <= 1
