"""A sample is foreign that has more than any of calibration where calibration has little, in any kind of its rows."""

import numpy as np
import pytest

from lamofcbench.codecs.transform.familiarity import (
    LEAST_SAMPLES,
    MARGIN,
    MARGIN_OF_ONE,
    Energies,
    Familiarity,
    Rule,
    energies_beyond,
    most_familiar,
    together,
)
from lamofcbench.codecs.transform.profiles import MIDDLE, Profiles

WIDTH, USUAL = 16, 4
DEVIATIONS = np.where(np.arange(WIDTH) < USUAL, 10.0, 1.0)


def sample(seed, last=1.0, rows=20, deviations=DEVIATIONS):
    values = np.random.default_rng(seed).normal(size=(rows, WIDTH)) * deviations
    values[-1] *= last
    return values.astype(np.float32)


class Known:
    """What samples say whose coefficients are their columns."""

    def __init__(self, samples, places=0, most_directions=WIDTH, rule=Rule.WORST_KIND):
        self.profiles, self.rule = Profiles(places), rule
        self.energies = Energies.of(samples, samples, self.profiles)
        self.familiarity, self.surprises = Familiarity.learned(self.energies, most_directions, rule)
        self.most = most_familiar(self.surprises, rule)

    def is_foreign(self, rows, profiles=None):
        outside = energies_beyond(rows, rows[:, : self.familiarity.directions])
        return self.familiarity.surprise(outside, profiles or self.profiles, self.rule) > self.most


@pytest.mark.parametrize("places", [0, 20])
def test_what_calibration_knows_is_familiar(places):
    known = Known([sample(seed, 0.1) for seed in range(30)], places)
    assert not any(known.is_foreign(sample(seed, 0.1)) for seed in range(100, 130))
    assert known.is_foreign(3 * sample(0, 0.1))


@pytest.mark.parametrize("places", [0, 20])
def test_as_much_energy_in_other_directions_is_foreign(places):
    known = Known([sample(seed) for seed in range(30)], places)
    other = sample(100, deviations=DEVIATIONS[::-1])
    assert np.square(other).sum() == pytest.approx(np.square(sample(100)).sum(), rel=0.2)
    assert known.is_foreign(other)


def test_so_many_directions_are_left_out_as_hold_nine_tenths():
    known = Known([sample(seed) for seed in range(30)])
    assert known.energies.directions == known.familiarity.directions == USUAL
    assert Known([sample(seed) for seed in range(30)], most_directions=2).familiarity.directions == 2
    none = [np.zeros((20, 0), np.float32)] * 30
    assert Energies.of([sample(seed) for seed in range(30)], none, Profiles(0)).directions == 0


def test_energies_in_other_units_say_the_same():
    known = Known([sample(seed) for seed in range(9)])
    familiarity, surprises = Familiarity.learned(known.energies.in_units(0.1), WIDTH, Rule.WORST_KIND)
    np.testing.assert_allclose(surprises, known.surprises)
    np.testing.assert_allclose(familiarity.expected, 100 * known.familiarity.expected, rtol=1e-6)


def test_the_last_row_tells_alone_where_it_used_to_deviate_little():
    known = Known([sample(seed, 0.1) for seed in range(30)])
    assert known.is_foreign(sample(100, 1.0))


def test_a_few_rows_like_none_tell_nothing_to_the_rule_of_many_rows():
    known = Known([sample(seed, 0.1) for seed in range(30)], rule=Rule.MANY_ROWS)
    other = sample(100, 3.0)
    other[3:9] *= 30
    assert Known([sample(seed, 0.1) for seed in range(30)]).is_foreign(other)
    assert not known.is_foreign(other)
    other[9:12] *= 30  # now two in five
    assert known.is_foreign(other)


def test_as_much_energy_in_other_directions_is_foreign_to_the_rule_of_many_rows():
    known = Known([sample(seed) for seed in range(30)], rule=Rule.MANY_ROWS)
    assert not any(known.is_foreign(sample(seed)) for seed in range(100, 130))
    assert known.is_foreign(sample(100, deviations=DEVIATIONS[::-1]))


def test_each_of_a_few_rows_has_to_tell_the_louder():
    known = Known([sample(seed) for seed in range(30)], rule=Rule.MANY_ROWS)
    inner = Profiles(0, has_first=False, has_last=False)
    chunk = sample(100) * np.float32(3.0)  # nine times the energy
    assert known.is_foreign(chunk, inner)
    assert known.is_foreign(chunk[:8], inner)
    assert not known.is_foreign(chunk[:1], inner)
    assert known.is_foreign(10 * chunk[:1], inner)


def test_twice_as_much_is_familiar_to_the_rule_of_many_rows_whatever_calibration_says():
    words = [sample(seed, deviations=np.where(np.arange(20) % 3 == 0, 1.0, 0.01)[:, None]) for seed in range(30)]
    known = Known(words, rule=Rule.MANY_ROWS)  # one row of three has all energy there is, two in five none
    assert known.surprises.max() < 0.01
    assert known.most == 2.0


def test_rows_of_new_words_have_no_say_in_what_many_rows_are_expected_to_be():
    """A few of them have nearly all energy: beside that, those of another task would be nothing."""
    samples = [sample(seed, rows=30) for seed in range(30)]
    new = [np.arange(30) % 10 == 5 for _ in samples]
    for rows, those in zip(samples, new, strict=True):
        rows[those] *= 100
    profiles = Profiles(0)
    told, whole = (Energies.of(samples, samples, profiles, unnamed) for unnamed in (new, None))
    (expected, _), (others, _) = (Familiarity.learned(each, WIDTH, Rule.MANY_ROWS) for each in (told, whole))
    assert expected.directions == others.directions
    assert expected.expected[MIDDLE] < 0.01 * others.expected[MIDDLE]
    (by_kind, _), (of_all, _) = (Familiarity.learned(each, WIDTH, Rule.WORST_KIND) for each in (told, whole))
    np.testing.assert_array_equal(by_kind.expected, of_all.expected)


def test_places_of_one_kind_are_known_in_sums_whatever_the_rule():
    samples = [sample(seed) for seed in range(30)]
    middle, worst = (Known(samples, 20, rule=rule) for rule in (Rule.MANY_ROWS, Rule.WORST_KIND))
    np.testing.assert_array_equal(middle.surprises, worst.surprises)


def test_no_row_of_a_chunk_tells_alone():
    known, inner = Known([sample(seed) for seed in range(30)]), Profiles(0, has_first=False, has_last=False)
    chunk = sample(100, 3.0)  # its last row is one among others, and such vary
    assert known.is_foreign(chunk)
    assert not known.is_foreign(chunk, inner)
    assert known.is_foreign(3 * chunk, inner)


def test_groups_of_tensors_are_heard_together():
    groups = [Known([sample(seed + 100 * group) for seed in range(30)]) for group in range(8)]
    surprises = together([known.surprises for known in groups])
    assert surprises.shape == (30,)
    np.testing.assert_allclose(surprises[3], np.mean([known.surprises[3] for known in groups]))
    assert most_familiar(surprises, Rule.WORST_KIND) < min(
        known.most for known in groups
    )  # what is a little odd in each, is as a whole
    assert most_familiar(surprises, Rule.WORST_KIND) == pytest.approx((MARGIN + MARGIN_OF_ONE / 30) * surprises.max())


@pytest.mark.parametrize("count", [4, 8, 30])
def test_few_samples_seldom_take_their_like_for_foreign(count):
    def scaled(seed):
        return sample(seed) * np.float32(np.exp(np.random.default_rng(seed).normal(0, 0.3)))

    told = [
        Known([scaled(1000 * trial + n) for n in range(count)]).is_foreign(scaled(10**6 + trial)) for trial in range(60)
    ]
    assert np.mean(told) < 0.1


def test_few_samples_tell_nothing_and_rows_that_never_vary_are_no_surprise():
    known = Known([sample(seed) for seed in range(LEAST_SAMPLES - 1)])
    assert not known.is_foreign(1e3 * sample(0))
    still = Known([sample(seed, 0.0) for seed in range(9)])
    assert not still.is_foreign(sample(9, 1e-4))


def test_no_rows_are_familiar():
    known = Known([sample(seed) for seed in range(9)] + [sample(0)[:0]])
    assert known.surprises[-1] == 0
    assert not known.is_foreign(sample(0)[:0])


def test_values_without_bound_are_foreign_and_no_error():
    known = Known([sample(seed) for seed in range(9)])
    assert known.familiarity.surprise(np.full(20, 1e300), known.profiles, known.rule) > known.most
    assert known.familiarity.surprise(np.full(20, np.inf), known.profiles, known.rule) > known.most


def test_rows_too_large_to_be_measured_warn_of_nothing():
    assert np.isnan(energies_beyond(np.full((2, 4), 1e30, np.float32), np.full((2, 4), 1e30, np.float32))).all()
