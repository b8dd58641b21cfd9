import numpy as np
import pytest
import torch

from harness.metrics import predictions
from lamofcbench import rasters
from lamofcbench.errors import DataError, PluginError
from lamofcbench.references import MAX_TEXT_BYTES, shown

EXACT = {
    "text": ["", "two\nlines", "ça — 数", "nul \0 inside"],
    "label": [0, 7, -(2**63), 2**63 - 1, np.int64(3), np.uint8(3), 3.0, torch.tensor(5)],
    "scores": [
        [0.5, -1.25],
        np.array([1.0, np.inf], dtype=np.float32),
        torch.tensor([2.0, 3.0]),
        [1, 0],
        [torch.tensor(1.0), torch.tensor(2.0)],
    ],
    "logprobs": [[-0.5, 0.0], np.array([-1.25], dtype=np.float32)],
    "mask": [np.eye(3, dtype=np.uint8), np.array([[0, 65535], [256, 1]]), torch.tensor([[1, 2, 3]])],
    "map": [np.array([[0.5, 2.0]]), torch.full((2, 3, 4), 1.5, dtype=torch.bfloat16), np.zeros((0, 4)), np.float32(2)],
    "image": [np.arange(27, dtype=np.uint8).reshape(3, 3, 3)],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in EXACT.items() for value in values])
def test_predictions_come_back_as_they_went_in(kind, value):
    restored = predictions.decode_prediction(kind, predictions.encode_prediction(kind, value))
    expected = value.float().numpy() if isinstance(value, torch.Tensor) else value
    assert np.array_equal(np.asarray(restored), np.asarray(expected))


def test_a_label_may_come_as_an_array_of_one():
    assert (
        predictions.encode_prediction("label", torch.tensor([5]))
        == predictions.encode_prediction("label", np.array([[5]]))
        == 5
    )


def test_lone_surrogates_do_not_stop_a_run():
    assert predictions.encode_prediction("text", "a\udc80b") == "a?b"


def test_a_long_text_of_a_tail_is_cut_and_one_in_a_file_is_refused():
    text = "a" + "é" * MAX_TEXT_BYTES
    stored = predictions.encode_prediction("text", text)
    assert stored == text[: MAX_TEXT_BYTES // 2]  # no half of a character
    assert predictions.decode_prediction("text", stored) == stored
    with pytest.raises(DataError, match=r"^the prediction takes 65537 bytes as UTF-8; at most 65536 are judged$"):
        predictions.decode_prediction("text", "x" * (MAX_TEXT_BYTES + 1))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 3),
        ("text", None),
        ("label", "3"),
        ("label", 1.5),
        ("label", [1, 2]),
        ("label", None),
        ("label", True),
        ("label", torch.tensor(True)),
        ("label", torch.tensor([1, 2])),
        ("label", float("nan")),
        ("label", float("inf")),
        ("label", 1j),
        ("label", 2**63),
        ("label", np.uint64(2**63)),
        ("label", 1e30),
        ("label", 10**5000),
        ("scores", None),
        ("scores", [[1.0]]),
        ("scores", "abc"),
        ("scores", ["1", "2"]),
        ("scores", [None, 1.0]),
        ("scores", []),
        ("scores", [1.0, float("nan")]),
        ("scores", [1e300, 2e300]),
        ("scores", np.array([1j])),
        ("mask", np.zeros((2, 2))),
        ("mask", np.array([[-1]])),
        ("mask", np.zeros((0, 3), dtype=np.uint8)),
        ("image", np.zeros((2, 2, 4), dtype=np.uint8)),
        ("image", np.zeros((2, 2, 3))),
        ("map", "nothing"),
        ("map", object()),
    ],
    ids=shown,
)
def test_a_tail_that_returns_something_else_is_told_so(kind, value):
    with pytest.raises(PluginError, match=f"no {kind} prediction") as caught:
        predictions.encode_prediction(kind, value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_score_that_is_no_number_is_counted_out():
    with pytest.raises(PluginError, match=r"ndarray \[2\], which is no scores prediction: score 1 is NaN"):
        predictions.encode_prediction("scores", np.array([1.0, np.nan]))
    with pytest.raises(PluginError, match="score 0 does not fit float32"):
        predictions.encode_prediction("scores", [1e300, 1.0])


@pytest.mark.parametrize("kind", ["mask", "map", "image"])
def test_damaged_cells_are_one_clear_error(kind):
    good = predictions.encode_prediction(kind, EXACT[kind][0])
    for damaged in (b"", good[:3], good[: len(good) // 2], b"\x80\x04." + good, b"GIF89a" + good[6:]):
        with pytest.raises(DataError, match="damaged"):
            predictions.decode_prediction(kind, damaged)


def test_cells_of_the_wrong_type_are_refused():
    for kind, cell in [("text", 3), ("label", "3"), ("scores", 1.0), ("logprobs", -1.0), ("mask", "x"), ("map", None)]:
        with pytest.raises(DataError, match="cannot be"):
            predictions.decode_prediction(kind, cell)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [("text", 3), ("text", "\ud800"), ("label", "3"), ("label", 2**63), ("label", True), ("scores", b"x"),
     ("scores", float("nan")), ("logprobs", 3), ("mask", "x"), ("mask", b"x"), ("image", None)],
)  # fmt: skip
def test_references_that_predictions_cannot_be_compared_with_are_refused(kind, reference):
    with pytest.raises(DataError):
        predictions.decode_reference(kind, reference)


def test_masks_are_grey_and_images_are_not():
    with pytest.raises(DataError, match="in colour"):
        predictions.decode_prediction("mask", predictions.encode_prediction("image", EXACT["image"][0]))
    with pytest.raises(DataError, match="grey"):
        predictions.decode_prediction("image", predictions.encode_prediction("mask", EXACT["mask"][0]))


def test_references_are_decoded_like_predictions_only_where_they_are_bytes():
    assert predictions.decode_reference("label", 4) == 4
    assert predictions.decode_reference("text", "x") == "x"
    assert np.array_equal(
        predictions.decode_reference("mask", rasters.encode_mask(np.eye(2, dtype=np.uint8))), np.eye(2)
    )
