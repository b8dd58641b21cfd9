import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamofcbench.bitstream import FIXED_BYTES, BitstreamReader, BitstreamWriter
from lamofcbench.errors import BitstreamError

FINGERPRINT = bytes(range(32))


def sealed(body):
    """A body with a valid checksum: what damage cannot make but an attacker can."""
    return body + struct.pack("<I", zlib.crc32(body, zlib.crc32(FINGERPRINT)))


def container(rest=b""):
    return sealed(b"\xc2" + rest)


def written(numbers=(), sections=(b"",), raw_sizes=(0,)):
    writer = BitstreamWriter(FINGERPRINT)
    for number in numbers:
        writer.unsigned(number)
    return writer.finish(list(sections), list(raw_sizes))


# ----------------------------------------------------------------------------------------------- the format


def test_the_bytes_of_one_section_are_as_specified():
    writer = BitstreamWriter(FINGERPRINT)
    writer.unsigned(300)
    writer.signed(-3)
    data = writer.finish([b"payload"], [100])
    assert data[:-4].hex() == "c2" + "ac02" + "05" + b"payload".hex()
    assert data == sealed(data[:-4])


def test_the_bytes_of_the_section_table_are_as_specified():
    # Order 2 as 00010; 10 - 0, zigzag 20, as 0011000; 21 - 20, zigzag 2, as 110; one bit of padding; bytes reversed.
    data = written(sections=[bytes(10), bytes(21), bytes(5)], raw_sizes=[100, 200, 50])
    assert data[:1].hex() == "c2"
    assert data[1:37] == bytes(36)
    assert data[37:-4].hex() == "8c11"
    assert len(data) == FIXED_BYTES + 36 + len(data[37:-4])


def test_an_empty_set_takes_the_fixed_bytes_alone():
    assert len(written()) == FIXED_BYTES == 5


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_numbers_come_back(unsigned, signed):
    writer = BitstreamWriter(FINGERPRINT)
    for value in unsigned:
        writer.unsigned(value)
    for value in signed:
        writer.signed(value)
    reader = BitstreamReader(writer.finish([], []), FINGERPRINT)
    assert [reader.unsigned("n") for _ in unsigned] == unsigned
    assert [reader.signed("n") for _ in signed] == signed
    assert reader.sections([]) == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 10**9)), max_size=15))
def test_sections_of_any_lengths_and_raw_sizes_come_back(pairs):
    sections = [bytes([n % 251]) * length for n, (length, _) in enumerate(pairs)]
    raw_sizes = [raw for _, raw in pairs]
    data = written((7,), sections, raw_sizes)
    reader = BitstreamReader(data, FINGERPRINT)
    assert reader.unsigned("axis") == 7
    assert reader.sections(raw_sizes) == sections


@pytest.mark.parametrize("value", [-1, 2**64])
def test_numbers_that_do_not_fit_are_refused_when_written(value):
    with pytest.raises(ValueError, match="64-bit"):
        BitstreamWriter(FINGERPRINT).unsigned(value)


@pytest.mark.parametrize("value", [-(2**63) - 1, 2**63])
def test_signed_numbers_that_do_not_fit_are_refused_when_written(value):
    with pytest.raises(ValueError, match="64-bit"):
        BitstreamWriter(FINGERPRINT).signed(value)


@pytest.mark.parametrize("scale", [1, 100, 10_000])
def test_table_of_a_fixed_rate_codec_costs_a_bit_a_section(scale):
    raw_sizes = [scale * n for n in (4, 8, 4, 8, 4, 8, 4, 8, 4, 8, 16)]
    sections = [bytes(raw // 4) for raw in raw_sizes]
    overhead = len(written((100,), sections, raw_sizes)) - sum(map(len, sections))
    assert overhead <= FIXED_BYTES + 1 + 8


# ------------------------------------------------------------------------------------------ damaged and hostile


@given(st.integers(0, 10**6))
def test_any_flipped_bit_is_noticed(position):
    data = bytearray(written((3,), [b"some", b"sections"], [10, 20]))
    data[position // 8 % len(data)] ^= 1 << position % 8
    with pytest.raises(BitstreamError):
        BitstreamReader(bytes(data), FINGERPRINT)


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_noticed(data):
    with pytest.raises(BitstreamError):
        BitstreamReader(data, FINGERPRINT)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "container alone"),
        (b"\xc2" + bytes(3), "container alone"),
        (b"\x1f\xc1" + bytes(20), "format 1 is no longer read"),
        (b"PK" + bytes(20), "not a LaMoFCBench bitstream"),
        (b"\xc3" + bytes(20), "format 3 is unknown"),
        (container()[:-1] + b"\x00", "checksum"),
    ],
)
def test_what_is_wrong_is_said(data, message):
    with pytest.raises(BitstreamError, match=message):
        BitstreamReader(data, FINGERPRINT)


@pytest.mark.parametrize("position", [0, 17, 31])
def test_the_checksum_covers_the_whole_fingerprint(position):
    relative = bytearray(FINGERPRINT)
    relative[position] ^= 1
    with pytest.raises(BitstreamError, match="of another codec"):
        BitstreamReader(written(), bytes(relative))


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (b"", "ends within axis"),
        (b"\x80", "ends within axis"),
        (b"\xff" * 11, "longer than 10"),
        (b"\x65", "at most 100"),
        (b"\x84\x80\x00", "more bytes than it takes"),
        (b"\x80\x00", "more bytes than it takes"),
    ],
)
def test_hostile_numbers_are_refused(rest, message):
    with pytest.raises(BitstreamError, match=message):
        BitstreamReader(container(rest), FINGERPRINT).unsigned("axis", limit=100)


def test_numbers_of_more_than_64_bits_are_refused():
    with pytest.raises(BitstreamError, match="at most"):
        BitstreamReader(container(b"\xff" * 9 + b"\x7f"), FINGERPRINT).signed("seed")


def test_bytes_behind_an_empty_set_are_refused():
    with pytest.raises(BitstreamError, match="follow"):
        BitstreamReader(container(b"x"), FINGERPRINT).sections([])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.lists(st.integers(0, 2**40), min_size=2, max_size=12))
def test_hostile_section_tables_are_refused_or_split_what_is_there(rest, raw_sizes):
    try:
        sections = BitstreamReader(container(rest), FINGERPRINT).sections(raw_sizes)
    except BitstreamError:
        return
    assert len(sections) == len(raw_sizes)
    assert rest.startswith(b"".join(sections))


@pytest.mark.parametrize("padding", [0x20, 0x01, 0x3F])
def test_bits_behind_a_section_table_are_zero(padding):
    sections, raw_sizes = [bytes(4), bytes(4)], [4, 4]
    data = bytearray(written(sections=sections, raw_sizes=raw_sizes)[:-4])
    assert data[-2:].hex() == "0013"  # 00010 01100, six bits of padding; bytes reversed
    assert BitstreamReader(sealed(bytes(data)), FINGERPRINT).sections(raw_sizes) == sections
    data[-2] |= padding
    with pytest.raises(BitstreamError, match="not zero"):
        BitstreamReader(sealed(bytes(data)), FINGERPRINT).sections(raw_sizes)


@pytest.mark.parametrize("rest", [b"", bytes(40), b"\xff" * 40, bytes(39) + b"\x07"])
def test_section_tables_of_extreme_bits_end_quickly(rest):
    with pytest.raises(BitstreamError):
        BitstreamReader(container(rest), FINGERPRINT).sections([2**40] * 11)
