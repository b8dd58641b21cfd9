"""Profiles: places where their number never varies, else first, middle and last."""

import numpy as np
import pytest

from lamofcbench.codecs.transform.profiles import FIRST, LAST, MIDDLE, Profiles, find_profiles


def test_rows_of_a_prompt_are_first_middle_or_last():
    profiles = Profiles(0)
    assert profiles.of(5).tolist() == [FIRST, MIDDLE, MIDDLE, MIDDLE, LAST]
    assert profiles.of(2).tolist() == [FIRST, LAST]
    assert profiles.of(1).tolist() == [LAST]
    assert profiles.of(0).tolist() == []


def test_chunks_of_a_stream_have_a_first_row_at_most():
    first, later = Profiles(0, has_last=False), Profiles(0, has_first=False, has_last=False)
    assert first.of(3).tolist() == [FIRST, MIDDLE, MIDDLE] and later.of(3).tolist() == [MIDDLE] * 3
    assert first.of(1).tolist() == [FIRST] and first.of(0).tolist() == later.of(0).tolist() == []
    assert Profiles(3, has_last=False).fits(6) and not Profiles(3, has_first=False, has_last=False).fits(6)


def test_places_repeat_and_samples_of_another_size_share_one_profile():
    profiles = Profiles(3)
    assert profiles.count == 4
    assert profiles.of(6).tolist() == [0, 1, 2, 0, 1, 2]
    assert profiles.of(4).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("shapes", "ragged", "places"),
    [
        ([(41,)] * 8, [True], 41),  # the tokens of one image size
        ([(41,)] * 7, [True], 0),  # too few samples to call it one
        ([(41,)] * 7, [False], 41),
        ([(2, 41)] * 9, [False, True], 82),
        ([(n % 3, 41) for n in range(9)], [True, True], 41),  # crops of an image, each with its places
        ([(41, n) for n in range(9)], [False, True], 0),
        ([()] * 3, [], 1),
    ],
)
def test_places_are_what_does_not_vary(shapes, ragged, places):
    assert find_profiles(shapes, ragged, 16).places == places


@pytest.mark.parametrize(
    ("shapes", "ragged", "width", "places"),
    [
        ([(1029,)] * 50, [True], 4096, 1029),
        ([(2, 3077)] * 50, [False, True], 16384, 0),
        ([(2, 64)] * 8, [False, False], 40_000, 64),  # of the innermost axes as many as there is room for
        ([()], [], 10**9, 1),  # no fewer than without places
        ([(2,)], [False], 10**9, 2),
        ([(3,)], [False], 10**9, 0),
    ],
)
def test_places_of_wide_rows_have_profiles_only_as_far_as_the_state_has_room(shapes, ragged, width, places):
    assert find_profiles(shapes, ragged, width).places == places


@pytest.mark.parametrize("rows", [6, 4, 0])
def test_rows_are_added_to_the_sums_of_their_profiles(rows):
    profiles, values = Profiles(3), np.random.default_rng(0).normal(size=(rows, 2))
    sums = np.zeros((4, 2))
    profiles.add(sums, values, profiles.of(rows))
    expected = np.zeros((4, 2))
    np.add.at(expected, profiles.of(rows), values)
    assert np.allclose(sums, expected)
