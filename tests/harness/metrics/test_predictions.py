import numpy as np
import pytest
import torch

from harness.metrics import predictions
from lamofcbench import rasters
from lamofcbench.errors import DataError, PluginError

EXACT = {
    "text": ["", "two\nlines", "ça — 数", "nul \0 inside"],
    "label": [0, 7, np.int64(3), torch.tensor(5)],
    "scores": [[0.5, -1.25], np.array([1.0, np.inf], dtype=np.float32), torch.tensor([2.0, 3.0])],
    "mask": [np.eye(3, dtype=np.uint8), np.array([[0, 65535], [256, 1]]), torch.tensor([[1, 2, 3]])],
    "map": [np.array([[0.5, 2.0]]), torch.full((2, 3, 4), 1.5, dtype=torch.bfloat16), np.zeros((0, 4)), np.float32(2)],
    "image": [np.arange(27, dtype=np.uint8).reshape(3, 3, 3)],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in EXACT.items() for value in values])
def test_predictions_come_back_as_they_went_in(kind, value):
    restored = predictions.decode_prediction(kind, predictions.encode_prediction(kind, value))
    expected = value.float().numpy() if isinstance(value, torch.Tensor) else value
    assert np.array_equal(np.asarray(restored), np.asarray(expected))


def test_lone_surrogates_do_not_stop_a_run():
    assert predictions.encode_prediction("text", "a\udc80b") == "a?b"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 3),
        ("text", None),
        ("label", "3"),
        ("label", 1.5),
        ("label", [1, 2]),
        ("scores", [[1.0]]),
        ("scores", "abc"),
        ("mask", np.zeros((2, 2))),
        ("mask", np.array([[-1]])),
        ("mask", np.zeros((0, 3), dtype=np.uint8)),
        ("image", np.zeros((2, 2, 4), dtype=np.uint8)),
        ("image", np.zeros((2, 2, 3))),
        ("map", "nothing"),
        ("map", object()),
    ],
)
def test_a_tail_that_returns_something_else_is_told_so(kind, value):
    with pytest.raises(PluginError, match=f"no {kind} prediction"):
        predictions.encode_prediction(kind, value)


@pytest.mark.parametrize("kind", ["mask", "map", "image"])
def test_damaged_cells_are_one_clear_error(kind):
    good = predictions.encode_prediction(kind, EXACT[kind][0])
    for damaged in (b"", good[:3], good[: len(good) // 2], b"\x80\x04." + good, b"GIF89a" + good[6:]):
        with pytest.raises(DataError, match="damaged"):
            predictions.decode_prediction(kind, damaged)


def test_cells_of_the_wrong_type_are_refused():
    for kind, cell in [("text", 3), ("label", "3"), ("scores", 1.0), ("mask", "x"), ("map", None)]:
        with pytest.raises(DataError, match="cannot be"):
            predictions.decode_prediction(kind, cell)


def test_references_are_decoded_like_predictions_only_where_they_are_bytes():
    assert predictions.decode_reference("label", 4) == 4
    assert predictions.decode_reference("text", "x") == "x"
    assert np.array_equal(
        predictions.decode_reference("mask", rasters.encode_mask(np.eye(2, dtype=np.uint8))), np.eye(2)
    )
