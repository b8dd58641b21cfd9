"""The encoder's division by multiplication is exact."""

import numpy as np
import pytest

from lamofcbench.codecs.rans.layout import PRECISION, RECIPROCAL_BITS
from lamofcbench.codecs.rans.tables import TOTAL, _reciprocals


@pytest.mark.parametrize("below", [0, 1, 2])
def test_quotients_are_exact_where_they_are_closest_to_the_next(below):
    """Just below each multiple of the frequency and at it, for the largest quotients and some others."""
    frequencies = np.arange(1, TOTAL + 1, dtype=np.uint64)
    reciprocals = np.asarray(_reciprocals(), np.int64)[1:].astype(np.uint64)
    most = np.uint64(2 ** (32 - PRECISION))
    for quotient in (1, 2, 3, 12345, 2**17, 2**18 - 1, 2**18):
        dividends = frequencies * np.uint64(quotient) - np.uint64(below)
        fits = (dividends < frequencies * most) & (dividends < 2**32)
        found = (dividends * reciprocals) >> np.uint64(RECIPROCAL_BITS)
        assert np.array_equal(found[fits], (dividends // frequencies)[fits])
