import numpy as np
import pytest

from lamofcbench.codecs.groups.lloyd_max import lloyd_max_levels

GAUSSIAN = {
    1: [0.7979],
    2: [0.4528, 1.5104],
    3: [0.2451, 0.7560, 1.3439, 2.1519],
    4: [0.1284, 0.3880, 0.6568, 0.9423, 1.2562, 1.6180, 2.0690, 2.7326],
}
DISTORTION = {1: 0.36338, 2: 0.11748, 3: 0.03455, 4: 0.00950, 5: 0.00251}


@pytest.mark.parametrize("bits", GAUSSIAN)
def test_long_vectors_have_the_levels_of_a_gaussian(bits):
    assert lloyd_max_levels(2**16, bits)[2 ** (bits - 1) :] == pytest.approx(GAUSSIAN[bits], abs=2e-3)


@pytest.mark.parametrize("length", [2, 3, 8, 64, 4096])
@pytest.mark.parametrize("bits", range(1, 9))
def test_levels_rise_and_are_symmetric(length, bits):
    levels = lloyd_max_levels(length, bits)
    assert levels.shape == (2**bits,) and (np.diff(levels) > 0).all() and np.array_equal(levels, -levels[::-1])
    assert levels[-1] < np.sqrt(length)


@pytest.mark.parametrize("length", [3, 8, 128])
@pytest.mark.parametrize("bits", [1, 2, 3, 5])
def test_each_level_is_the_mean_of_what_is_nearest_to_it(length, bits):
    vectors = np.random.default_rng(0).normal(size=(2_000_000 // length, length))
    vectors /= np.sqrt(np.mean(np.square(vectors), axis=1, keepdims=True))
    levels = lloyd_max_levels(length, bits).astype(float)
    values = vectors.reshape(-1)
    codes = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
    means = np.bincount(codes, values, len(levels)) / np.bincount(codes, minlength=len(levels))
    assert np.abs(means - levels).max() < 0.02
    if length == 128:
        assert np.square(levels[codes] - values).mean() == pytest.approx(DISTORTION[bits], rel=0.05)


def test_a_vector_of_one_is_its_own_root_mean_square():
    assert lloyd_max_levels(1, 1).tolist() == [-1.0, 1.0]
