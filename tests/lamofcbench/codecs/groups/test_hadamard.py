import numpy as np
import pytest
from scipy.linalg import hadamard

from lamofcbench.codecs.groups.hadamard import rotate, rotation_blocks

LENGTHS = (1, 2, 3, 8, 12, 31, 64, 66, 74, 96, 768, 1000, 1280, 3584, 4096)


@pytest.mark.parametrize("length", LENGTHS)
def test_rotation_keeps_lengths_and_is_its_own_inverse(length):
    vectors = np.random.default_rng(length).normal(size=(7, length)).astype(np.float32)
    rotated = rotate(vectors)
    assert np.allclose(np.linalg.norm(rotated, axis=1), np.linalg.norm(vectors, axis=1), rtol=1e-5)
    assert np.allclose(rotate(rotated), vectors, atol=1e-5)


@pytest.mark.parametrize("length", LENGTHS)
def test_an_outlier_is_spread_over_its_block(length):
    outlier = np.zeros((1, length), np.float32)
    outlier[0, -1] = 1.0
    block = rotation_blocks(length)[-1]
    assert np.abs(rotate(outlier)).max() <= np.sqrt(2 / block) * (1 + 1e-6)


@pytest.mark.parametrize("length", [2, 16, 128])
def test_powers_of_two_rotate_by_sylvesters_matrix(length):
    assert np.allclose(rotate(np.eye(length, dtype=np.float32)), hadamard(length) / np.sqrt(length), atol=1e-6)


def test_blocks_fill_the_length():
    for length in range(2000):
        assert sum(rotation_blocks(length)) == length


def test_rotation_of_a_row_does_not_depend_on_the_others():
    vectors = np.random.default_rng(0).normal(size=(3000, 96)).astype(np.float32)
    assert np.array_equal(rotate(vectors)[1234:1235], rotate(vectors[1234:1235]))
