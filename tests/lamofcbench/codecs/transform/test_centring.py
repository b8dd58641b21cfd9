"""Centring: rows about what is expected of them, the same bits compiled or not, and nothing lost beyond the limits."""

import numpy as np
import pytest

from lamofcbench.codecs.transform import centring
from lamofcbench.codecs.transform.centring import Expected

LIMITS, SCALE = np.full(9, 20.0, np.float32), np.linspace(0.1, 3, 9, dtype=np.float32)


def rows(*, beyond):
    values = np.random.default_rng(0).normal(1, 3, (7, 9)).astype(np.float32)
    if beyond:
        values[2, 3], values[2, 8], values[6, 0] = 1e4, -3e38, 50.0
    return values


def expected(means):
    return Expected(np.random.default_rng(1).normal(0, 2, (means, 9)).astype(np.float32), np.arange(7) % means)


@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("means", [1, 3])
def test_plain_numpy_finds_the_same_values_and_outliers(beyond, means, monkeypatch):
    arguments = rows(beyond=beyond), expected(means), LIMITS, SCALE
    found, outliers = centring.centred(*arguments)
    back = centring.restored(found.copy(), arguments[1], SCALE)
    monkeypatch.setattr(centring, "compiled", lambda: False)
    plain, plain_outliers = centring.centred(*arguments)
    assert np.array_equal(found, plain)
    for name in ("rows", "columns", "values"):
        ours, theirs = getattr(outliers, name), getattr(plain_outliers, name)
        assert np.array_equal(ours, theirs) and ours.dtype == theirs.dtype
    assert np.array_equal(back, centring.restored(plain, arguments[1], SCALE))


def test_what_is_too_far_off_is_blank_and_all_else_comes_back():
    values = rows(beyond=True)
    found, outliers = centring.centred(values, expected(3), LIMITS, SCALE)
    assert outliers.values.tolist() == np.float32([1e4, -3e38, 50.0]).tolist()
    assert not found[outliers.rows, outliers.columns].any()
    back = centring.restored(found, expected(3), SCALE)
    outliers.put_back(back)
    assert np.allclose(back, values, rtol=1e-5, atol=1e-5)


def test_what_overflows_is_cut_off_at_the_largest_float():
    largest = np.finfo(np.float32).max
    values = np.full((7, 9), 3e38, np.float32) * np.where(np.arange(9) % 2, 1, -1).astype(np.float32)
    back = centring.restored(
        values, Expected(np.zeros((1, 9), np.float32), np.zeros(7, np.intp)), np.full_like(SCALE, 9)
    )
    assert (np.abs(back) == largest).all() and (np.sign(back[0]) == np.where(np.arange(9) % 2, 1, -1)).all()
