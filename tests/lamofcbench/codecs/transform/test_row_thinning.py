"""What calibration has too much of is thinned, evenly and by no more than memory asks for."""

import numpy as np
import pytest

from lamofcbench.codecs.transform import thinning
from lamofcbench.codecs.transform.thinning import Thinning

WIDTH = 4


def sample(number, rows):
    """Each row says of which sample it is, and which of its rows."""
    return np.array([[number, row, 0, 0] for row in range(rows)], np.float32).reshape(rows, WIDTH)


def kept(rows, places=0):
    found = Thinning.of(rows, WIDTH, places).kept(sample(*each) for each in enumerate(rows))
    return [(int(each[0, 0]), each[:, 1].astype(int).tolist()) for each in found if len(each)]


def test_what_fits_into_memory_is_kept(monkeypatch):
    monkeypatch.setattr(thinning, "MAX_VALUES", WIDTH * 12)
    assert Thinning.of([5, 0, 7], WIDTH, 0).every == 1
    assert kept([5, 0, 7]) == [(0, [*range(5)]), (2, [*range(7)])]
    assert Thinning.of([5, 1, 7], WIDTH, 0).every == 2


def test_first_and_last_rows_stay_and_samples_start_one_after_the_other(monkeypatch):
    monkeypatch.setattr(thinning, "MAX_VALUES", WIDTH * 14)
    assert kept([9, 9, 1, 0, 9]) == [(0, [0, 4, 8]), (1, [0, 3, 7, 8]), (2, [0]), (4, [0, 4, 8])]


def test_whole_patterns_of_places_stay_and_none_of_them_always(monkeypatch):
    monkeypatch.setattr(thinning, "MAX_VALUES", WIDTH * 3 * 4)
    first, second = [0, 1, 2], [3, 4, 5]
    assert kept([6] * 8, places=3) == [(0, first), (3, second), (4, first), (7, second)]


@pytest.mark.parametrize("places", [0, 3])
def test_what_cannot_be_thinned_further_is_left_as_it_is(places, monkeypatch):
    monkeypatch.setattr(thinning, "MAX_VALUES", 1)
    found = kept([9, 6, 3], places)
    assert found[0] == (0, [0, 1, 2] if places else [0, 8]) and len(found) == (1 if places else 3)


@pytest.mark.parametrize("places", [0, 3])
def test_rows_that_are_kept_stand_for_those_that_are_not(places, monkeypatch):
    rows = [102, 105, 108, 99]
    assert Thinning.of(rows, WIDTH, places).weights(5).tolist() == [1.0] * 5
    monkeypatch.setattr(thinning, "MAX_VALUES", WIDTH * 220)
    found = Thinning.of(rows, WIDTH, places)
    kept = found.kept(sample(*each) for each in enumerate(rows))
    assert sum(found.weights(len(each)).sum() for each in kept) == pytest.approx(sum(rows), rel=0.03)
    assert found.weights(4).tolist() == ([2.0] * 4 if places else [1.0, 2.0, 2.0, 1.0])
