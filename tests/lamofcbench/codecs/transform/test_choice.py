"""A transform is kept where it is of use, at whatever step."""

import numpy as np
import pytest

from lamofcbench.codecs.transform.choice import cheapest
from lamofcbench.codecs.transform.estimate import estimate, untransformed
from lamofcbench.codecs.transform.profiles import Profiles

STEPS = (0.1, 0.5, 1.0, 2.0, 5.6, 16.0, 45.0)


def candidates(samples):
    profiles = Profiles(0)
    index = [profiles.of(len(rows)) for rows in samples]
    width = samples[0].shape[1]
    return estimate(samples, index, 3, profiles, width), untransformed(samples, index, 3, profiles)


def drawn(seed, mixing, tails=None):
    generator = np.random.default_rng(seed)
    shape = (40, len(mixing))
    values = generator.normal(size=shape) if tails is None else generator.standard_t(tails, shape)
    return (values @ mixing).astype(np.float32)


@pytest.mark.parametrize("step", STEPS)
def test_columns_that_have_much_to_do_with_each_other_are_transformed_even_where_next_to_nothing_is_coded(step):
    mixing = np.random.default_rng(0).normal(size=(4, 64)) / 2
    noise = [np.random.default_rng(100 + n).normal(0, 0.02, (40, 64)).astype(np.float32) for n in range(16)]
    transform, none = candidates([drawn(n, mixing) + noise[n] for n in range(16)])
    assert cheapest((transform, none), step) is transform


@pytest.mark.parametrize("step", STEPS[:-1])  # at the last one, neither codes anything
def test_heavy_tails_that_stand_alone_are_left_alone(step):
    transform, none = candidates([drawn(n, np.eye(64), tails=2.2) for n in range(16)])
    assert cheapest((transform, none), step) is none
