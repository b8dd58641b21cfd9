import numpy as np
import pytest

from lamofcbench.codecs.caches import floats
from lamofcbench.errors import BitstreamError


@pytest.mark.parametrize("exponent", [-20, 0, 7])
def test_values_err_by_at_most_a_sixteenth_and_keep_their_sign(exponent):
    values = (np.random.default_rng(0).choice([-1, 1], 1000) * np.geomspace(2.0**-6, 448, 1000)).astype(np.float32)
    values *= np.float32(2.0**exponent)
    decoded = floats.from_codes(floats.to_codes(values, exponent), exponent)
    assert (np.abs(decoded - values) <= np.abs(values) / 16).all()


def test_the_unit_leaves_room_above_what_was_seen():
    for largest in (1e-6, 0.3, 448.0, 1e4):
        unit = 2.0 ** floats.exponent_for(largest)
        assert floats.LARGEST / 16 < largest / unit <= floats.LARGEST / 8


def test_what_lies_beyond_becomes_the_largest():
    codes = floats.to_codes(np.array([1e30, -1e30, 449.0], np.float32), 0)
    assert floats.from_codes(codes, 0).tolist() == [448.0, -448.0, 448.0]


@pytest.mark.parametrize("code", [0x7F, 0xFF])
def test_a_code_that_is_no_number_is_refused(code):
    with pytest.raises(BitstreamError, match="not a number"):
        floats.from_codes(np.array([0, code], np.uint8), 0)
