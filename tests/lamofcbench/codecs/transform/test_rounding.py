"""Rounding: values come back as the encoder saw them, compiled or not, whatever their size."""

import numpy as np
import pytest

from lamofcbench.codecs import integers
from lamofcbench.codecs.entropy import SymbolDecoder, SymbolEncoder, TableStack
from lamofcbench.codecs.transform import rounding
from lamofcbench.codecs.transform.classes import MAGNITUDES

TABLES = TableStack([integers.table(integers.learned_frequencies(np.zeros(integers.ALPHABET), s, 1.0)) for s in (1, 9)])
SHIFTS = np.array([[0.0, 0.1, 0.06, 0.05], [0.0, 0.05, 0.05, 0.05]], np.float32)
assert SHIFTS.shape[1] == MAGNITUDES


def rows(*, large=(), raw=()):
    draw = np.random.default_rng(3)
    values = draw.normal(0, 4, (6, 5)).astype(np.float32)
    values[2, 3] = 0.0
    for place, value in enumerate((*large, *raw)):
        values[place, place % 5] = value
    numbers = draw.integers(-1, 2, (6, 5)).astype(np.int16)
    numbers[range(5), range(5)] = 1
    return values, numbers, np.array([[1.0], [0.5], [0.25], [1.0], [2.0], [0.125]], np.float32)


def each_its_own(numbers):
    return rounding.RowTables(numbers, np.arange(len(numbers)), np.zeros(len(numbers), np.int16), 1)


def coded(values, numbers, steps):
    encoder = SymbolEncoder()
    found = rounding.put_rows(encoder, values, each_its_own(numbers), steps, SHIFTS, TABLES)
    return found, encoder.finish()


def decoded(payload, numbers, steps):
    decoder = SymbolDecoder(payload)
    found = rounding.take_rows(decoder, each_its_own(numbers), steps, SHIFTS, TABLES)
    decoder.finish()
    return found


CASES = {
    "small": rows(),
    "some large": rows(large=(127.4, -128.0, 5e4, -3e3)),
    "none coded": (rows()[0], np.full((6, 5), -1, np.int16), rows()[2]),
    "some too large for a token": rows(large=(300.0,), raw=(-4e9, 1e30)),
    "no rows": (np.empty((0, 5), np.float32), np.empty((0, 5), np.int16), np.empty((0, 1), np.float32)),
}


@pytest.mark.parametrize("case", CASES)
def test_values_come_back_as_the_encoder_restored_them(case):
    values, numbers, steps = CASES[case]
    found, payload = coded(values, numbers, steps)
    back = decoded(payload, numbers, steps)
    exact = np.abs(values) < 2.0**integers.MAX_BITS * steps
    assert np.array_equal(back[exact], found[exact])
    assert np.allclose(back[~exact], values[~exact])  # these travel as they are
    assert not found[numbers < 0].any()
    assert (np.abs(found - values) <= 0.65 * steps)[(numbers >= 0) & exact].all()


@pytest.mark.parametrize("case", CASES)
def test_plain_numpy_makes_the_same_bytes_and_values(case, monkeypatch):
    values, numbers, steps = CASES[case]
    found, payload = coded(values, numbers, steps)
    back = decoded(payload, numbers, steps)
    monkeypatch.setattr(rounding, "compiled", lambda: False)
    plain, plain_payload = coded(values, numbers, steps)
    assert plain_payload == payload
    assert np.array_equal(plain, found)
    assert np.array_equal(decoded(payload, numbers, steps), back)


def test_half_steps_go_to_the_nearer_zero():
    values = np.array([[0.54, -0.54, 0.56, -0.56, 1.5]], np.float32)
    found, _ = coded(values, np.zeros((1, 5), np.int16), np.ones((1, 1), np.float32))
    assert found.tolist() == [[0.0, 0.0, *np.float32([1.1, -1.1, 1.1]).tolist()]]
