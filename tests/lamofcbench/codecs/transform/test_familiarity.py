"""A sample is foreign where it deviates farther than any of calibration, in any of its places."""

import numpy as np
import pytest

from lamofcbench.codecs.transform.familiarity import Familiarity
from lamofcbench.codecs.transform.profiles import Profiles


def sample(seed, last=1.0, rows=20):
    values = np.random.default_rng(seed).normal(size=(rows, 16))
    values[-1] *= last
    return values.astype(np.float32)


def learned(samples, profiles):
    index = [profiles.of(len(rows)) for rows in samples]
    return Familiarity.learned(samples, index, profiles.count, profiles)


@pytest.mark.parametrize("places", [0, 20])
def test_what_calibration_knows_is_familiar(places):
    profiles = Profiles(places)
    known = learned([sample(seed, 0.1) for seed in range(30)], profiles)
    for seed in range(100, 130):
        assert not known.is_foreign(sample(seed, 0.1), profiles.of(20), profiles)
    assert known.is_foreign(3 * sample(0, 0.1), profiles.of(20), profiles)


def test_the_last_row_tells_alone_where_it_used_to_deviate_little():
    profiles = Profiles(0)
    known = learned([sample(seed, 0.1) for seed in range(30)], profiles)
    assert known.is_foreign(sample(100, 1.0), profiles.of(20), profiles)


def test_no_row_of_a_chunk_tells_alone():
    profiles, inner = Profiles(0), Profiles(0, inner=True)
    known = learned([sample(seed) for seed in range(30)], profiles)
    chunk = sample(100, 3.0)  # its last row is one among others, and such vary
    assert known.is_foreign(chunk, profiles.of(20), profiles)
    assert not known.is_foreign(chunk, inner.of(20), inner)
    assert known.is_foreign(3 * chunk, inner.of(20), inner)


def test_few_samples_tell_nothing_and_rows_that_never_vary_are_no_surprise():
    profiles = Profiles(0)
    known = learned([sample(seed) for seed in range(3)], profiles)
    assert not known.is_foreign(1e3 * sample(0), profiles.of(20), profiles)
    still = learned([sample(seed, 0.0) for seed in range(9)], profiles)
    assert not still.is_foreign(sample(9, 1e-4), profiles.of(20), profiles)


def test_no_rows_are_familiar():
    profiles = Profiles(0)
    known = learned([sample(seed) for seed in range(9)], profiles)
    assert not known.is_foreign(sample(0)[:0], profiles.of(0), profiles)
