"""Prediction types of a user's own are stored as JSON, and read back checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lamofcbench.errors import DataError, PluginError
from lamofcbench.prediction_kinds import MAX_JSON_BYTES, PredictionKind
from lamofcbench.references import check_reference, check_sample, decode_reference


class Tags(PredictionKind):
    name = "tags"

    def check(self, value: Any) -> list[str]:
        if not all(tag.islower() for tag in value):
            raise ValueError("tags are lower case")
        return sorted(value)

    def check_reference(self, value: Any) -> list[str]:
        if not value:
            raise ValueError("at least one tag is right")
        return self.check(value)


class Anything(PredictionKind):
    name = "anything"

    def check(self, value: Any) -> Any:
        return value


def test_what_is_stored_comes_back_checked():
    cell = Tags().stored_prediction(["b", "a"])
    assert cell == '["b","a"]' and Tags().prediction_of(cell) == ["a", "b"]


def test_arrays_and_tensors_are_lists():
    value = {"boxes": np.ones((1, 2)), "scores": torch.tensor([0.5]), "count": np.int64(3), "pair": (1, None, True)}
    cell = Anything().stored_prediction(value)
    assert Anything().prediction_of(cell) == {
        "boxes": [[1.0, 1.0]],
        "scores": [0.5],
        "count": 3,
        "pair": [1, None, True],
    }


@pytest.mark.parametrize(
    "wrong",
    [["A"], [1], None, float("nan"), {"a": object()}, ["a" * MAX_JSON_BYTES]],
    ids=lambda value: type(value).__name__,
)
def test_what_a_tail_returns_in_error_is_named_in_one_line(wrong):
    with pytest.raises(PluginError, match=r"^the tail returned [^\n]{1,200}, which is no tags prediction: [^\n]+$"):
        Tags().stored_prediction(wrong)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "cell", [b"[]", 3, "{", '["A"]', "NaN", nested(200_000), "[" + "0," * MAX_JSON_BYTES + "0]"], ids=range(7)
)
def test_damaged_cells_are_refused(cell):
    with pytest.raises(DataError, match=r"^a stored prediction is no tags: "):
        Tags().prediction_of(cell)


@pytest.mark.parametrize("cell", ["NaN", "[-Infinity]", "1e999", '{"x": [-1e999]}'])
def test_numbers_that_are_not_finite_are_refused(cell):
    with pytest.raises(DataError, match=r"is no anything: .* is (no JSON|beyond what a number holds)$"):
        Anything().prediction_of(cell)


def test_references_have_a_rule_of_their_own():
    sample_id, cell = check_sample(Tags(), "s0", ("b", "a"), "sample 0")
    assert (sample_id, cell) == ("s0", '["b","a"]')
    assert check_reference(Tags(), cell) == cell and decode_reference(Tags(), cell) == ["a", "b"]
    assert Tags().stored_prediction([]) == "[]"
    with pytest.raises(DataError, match=r"^sample 0 \('s0'\): the reference \[\] is no tags: at least one tag"):
        check_sample(Tags(), "s0", [], "sample 0")
    with pytest.raises(DataError, match="the reference is no tags"):
        check_reference(Tags(), "[]")
