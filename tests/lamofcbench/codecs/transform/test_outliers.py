"""Outliers stand for themselves."""

import numpy as np
import pytest

from lamofcbench.codecs.entropy import SymbolDecoder, SymbolEncoder
from lamofcbench.codecs.transform.outliers import Outliers
from lamofcbench.errors import BitstreamError


def coded(outliers, shape):
    encoder = SymbolEncoder()
    outliers.encode(encoder, shape)
    return encoder.finish()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 40])
def test_they_come_back_bit_by_bit(count):
    matrix = np.random.default_rng(count).normal(size=(9, 70)).astype(np.float32)
    where = np.zeros(matrix.size, bool)
    where[np.random.default_rng(1).permutation(matrix.size)[:count]] = True
    where = where.reshape(matrix.shape)
    outliers = Outliers.find(matrix, where)
    decoder = SymbolDecoder(coded(outliers, matrix.shape))
    again = Outliers.decode(decoder, matrix.shape)
    decoder.finish()
    blanked = matrix.copy()
    outliers.blank(blanked)
    assert not blanked[where].any() and np.array_equal(blanked[~where], matrix[~where])
    again.put_back(blanked)
    assert np.array_equal(blanked, matrix)


def test_they_may_stand_in_the_last_of_very_many_rows():
    shape = 2**29, 1
    outliers = Outliers(np.int32([3, 2**24, 2**29 - 1]), np.zeros(3, np.int32), np.float32([1e9, -1.0, 3e38]))
    decoder = SymbolDecoder(coded(outliers, shape))
    again = Outliers.decode(decoder, shape)
    decoder.finish()
    assert np.array_equal(again.rows, outliers.rows) and np.array_equal(again.values, outliers.values)


def test_none_cost_nothing_to_speak_of():
    assert len(coded(Outliers.find(np.zeros((9, 7), np.float32), np.zeros((9, 7), bool)), (9, 7))) <= 1


@pytest.mark.parametrize(
    ("rows", "columns", "values"), [([7], [0], [1.0]), ([0], [6], [1.0]), ([0], [0], [np.inf]), ([0], [0], [np.nan])]
)
def test_places_outside_the_matrix_and_no_numbers_are_refused(rows, columns, values):
    outliers = Outliers(np.int32(rows), np.int32(columns), np.float32(values))
    with pytest.raises(BitstreamError):
        Outliers.decode(SymbolDecoder(coded(outliers, (8, 8))), (5, 5))


def test_more_outliers_than_values_are_refused_before_anything_is_allocated():
    many = Outliers(*(np.zeros(5000, dtype) for dtype in (np.int32, np.int32, np.float32)))
    with pytest.raises(BitstreamError, match="5000 outliers among 6 values"):
        Outliers.decode(SymbolDecoder(coded(many, (2, 3))), (2, 3))
