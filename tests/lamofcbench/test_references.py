"""What a sample's id and reference may be."""

import enum

import numpy as np
import pytest
import torch

from lamofcbench.errors import DataError
from lamofcbench.rasters import encode_image, encode_map, encode_mask
from lamofcbench.references import MAX_ID_BYTES, MAX_TEXT_BYTES, check_reference, check_sample, shown

MASK = encode_mask(np.eye(3, dtype=np.uint8))
MAP = encode_map(np.ones((2, 2)))
IMAGE = encode_image(np.zeros((2, 2, 3), dtype=np.uint8))


class Colour(str, enum.Enum):
    RED = "red"


class Digit(enum.IntEnum):
    SEVEN = 7


@pytest.mark.parametrize(
    ("kind", "reference", "stored"),
    [
        ("text", "", ""),
        ("text", "नमस्ते \0 🙂", "नमस्ते \0 🙂"),
        ("text", "x" * MAX_TEXT_BYTES, "x" * MAX_TEXT_BYTES),
        ("text", np.str_("word"), "word"),
        ("text", Colour.RED, "red"),
        ("label", 0, 0),
        ("label", -(2**63), -(2**63)),
        ("label", 2**63 - 1, 2**63 - 1),
        ("label", np.int64(3), 3),
        ("label", np.uint8(3), 3),
        ("label", np.array(3), 3),
        ("label", torch.tensor(3), 3),
        ("label", Digit.SEVEN, 7),
        ("scores", 4, 4),
        ("scores", 0.5, 0.5),
        ("scores", np.float32(0.5), 0.5),
        ("mask", MASK, MASK),
        ("mask", bytearray(MASK), MASK),
        ("map", MAP, MAP),
        ("image", IMAGE, IMAGE),
        ("image", "a red square", "a red square"),
    ],
    ids=shown,
)
def test_references_become_plain_values(kind, reference, stored):
    sample_id, found = check_sample(kind, "s", reference, "here")
    assert sample_id == "s" and found == stored and type(found) is type(stored)


@pytest.mark.parametrize(
    ("kind", "reference", "why"),
    [
        ("text", None, "of type NoneType; references are all str where predictions are text"),
        ("text", 3, "of type int"),
        ("text", b"word", "of type bytes"),
        ("text", ["word"], "of type list"),
        ("text", "a\ud800b", r"'a\\ud800b' holds half a surrogate pair, U\+D800, at position 1"),
        ("text", "x" * 100_000, "'x{40}'... takes 100000 bytes as UTF-8; at most 65536 are stored"),
        ("text", "é" * (MAX_TEXT_BYTES // 2 + 1), "takes 65538 bytes"),
        ("label", None, "of type NoneType; references are all int64 where predictions are label"),
        ("label", "3", "of type str"),
        ("label", 3.0, "of type float"),
        ("label", np.float32(3), "of type float"),
        ("label", True, "of type bool"),
        ("label", np.bool_(True), "of type bool"),
        ("label", 2**63, "9223372036854775808 does not fit 64 bits"),
        ("label", np.uint64(2**64 - 1), "does not fit 64 bits"),
        ("label", 10**5000, "int of 16610 bits does not fit 64 bits"),
        ("label", np.array([3]), "of type ndarray"),
        ("label", MASK, "of type bytes"),
        ("scores", MASK, "of type bytes; references are all int64 or float64 where predictions are scores"),
        ("scores", [0.1, 0.9], "of type list"),
        ("scores", float("nan"), "nan is not finite"),
        ("scores", np.float64("-inf"), "-inf is not finite"),
        ("scores", True, "of type bool"),
        ("mask", b"", "damaged"),
        ("mask", b"a mask", "damaged"),
        ("mask", MASK[:30], "damaged"),
        ("mask", IMAGE, "PNG in colour"),
        ("mask", MAP, "damaged"),
        ("mask", np.eye(3), "of type ndarray; references are all bytes"),
        ("map", MASK, "damaged"),
        ("map", "map", "of type str"),
        ("image", MASK, "grey PNG"),
        ("image", 3, "of type int; references are all bytes or str"),
    ],
    ids=shown,
)
def test_a_wrong_reference_is_one_short_line_that_names_the_sample(kind, reference, why):
    with pytest.raises(DataError, match=rf"^here \('s'\): .*{why}") as caught:
        check_sample(kind, "s", reference, "here")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@pytest.mark.parametrize("sample_id", ["a", "a b/c.png", "नमूना-१", "x" * MAX_ID_BYTES, "می‌خواهم", np.str_("a")])
def test_ids_are_text(sample_id):
    found, _ = check_sample("label", sample_id, 0, "here")
    assert found == sample_id and type(found) is str


@pytest.mark.parametrize(
    ("sample_id", "why"),
    [
        (None, "the id is None; ids are str"),
        (7, "the id is 7; ids are str"),
        (float("nan"), "the id is nan"),
        (b"a", "the id is bytes of length 1"),
        (10**5000, "the id is int of 16610 bits"),
        ("", "the id '' is blank"),
        (" \u3000", "is blank"),
        ("a\nb", r"holds a control character, U\+000A, at position 1"),
        ("a\x1b[31m", r"holds a control character, U\+001B"),
        ("a\u2028b", r"holds a line break, U\+2028"),
        ("\udcff", r"half a surrogate pair, U\+DCFF"),
        ("x" * 100_000, "'x{40}'... takes 100000 bytes as UTF-8; at most 255 are stored"),
        ("é" * 128, "takes 256 bytes"),
    ],
    ids=shown,
)
def test_a_wrong_id_is_one_short_line_that_says_where(sample_id, why):
    with pytest.raises(DataError, match=rf"^here: .*{why}") as caught:
        check_sample("label", sample_id, 0, "here")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_bytes_are_checked_without_being_decoded_where_that_is_enough():
    assert check_reference("mask", b"no mask") == b"no mask"


def test_every_value_is_shown_in_a_short_line():
    for value in (None, "x" * 10**5, "a\nb", b"\0" * 10**5, 10**5000, np.zeros((2, 3)), torch.zeros(4), object()):
        assert len(shown(value)) < 100 and "\n" not in shown(value)
