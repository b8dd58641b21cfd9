"""Predictions made anew: what agrees up to rounding is told from what is the same, and rounding has no direction."""

from types import SimpleNamespace

import pytest

from harness.metrics.base import METRICS
from harness.submission.findings import Findings
from harness.submission.replay import Replay


@pytest.fixture
def replay(tmp_path):
    """A replay of predictions that accuracy judges."""
    made = object.__new__(Replay)
    made.findings = Findings(tmp_path)
    made.claim = SimpleNamespace(folder=SimpleNamespace(path=tmp_path / "result"))
    made.opened = SimpleNamespace(metric=METRICS.get("accuracy")())
    return made


def judged(right, predictions):
    return [{"prediction": one, "statistic.correct": float(hit)} for one, hit in zip(predictions, right, strict=True)]


def test_the_same_predictions_are_the_same(replay):
    rows = judged([1, 0, 1], ["a", "b", "c"])
    assert replay._tell_otherwise(rows, rows, 0) == "" and not replay.findings.faults


def test_predictions_that_agree_up_to_rounding_are_a_reason(replay):
    assert "rounding" in replay._tell_otherwise(judged([1], ["0.5"]), judged([1], ["0.5000001"]), 0)


def test_a_score_that_rounding_makes_better_is_a_fault(replay):
    stated, made = judged([1] * 100, ["x"] * 100), judged([1] * 90 + [0] * 10, ["y"] * 100)
    replay._tell_otherwise(stated, made, 0)
    (fault,) = replay.findings.faults
    assert fault.fault == "scores 1 on 100 samples drawn; the tail's predictions score 0.9"
    replay._tell_otherwise(made, stated, 0)  # worse than the tail's is nobody's gain
    assert len(replay.findings.faults) == 1
