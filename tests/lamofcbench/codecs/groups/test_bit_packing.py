import numpy as np
import pytest

from lamofcbench.codecs.groups.bit_packing import pack_bits, packed_bytes, unpack_bits
from lamofcbench.errors import BitstreamError


@pytest.mark.parametrize("width", range(1, 9))
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_codes_come_back_from_exactly_their_bits(width, count):
    codes = np.random.default_rng(count).integers(0, 2**width, count).astype(np.uint8)
    data = pack_bits(codes, width)
    assert len(data) == packed_bytes(count, width) == -(-count * width // 8)
    assert np.array_equal(unpack_bits(data, count, width), codes)


def test_bit_string_is_that_of_the_little_endian_integer():
    codes = [5, 0, 7, 1, 2]
    integer = sum(code << (3 * place) for place, code in enumerate(codes))
    assert pack_bits(np.array(codes, np.uint8), 3) == integer.to_bytes(2, "little")


def test_wrong_length_and_set_padding_are_refused():
    data = pack_bits(np.array([1, 2, 3], np.uint8), 3)
    for damaged in (data[:-1], data + b"\0", data[:-1] + bytes([data[-1] | 0x80])):
        with pytest.raises(BitstreamError):
            unpack_bits(damaged, 3, 3)
