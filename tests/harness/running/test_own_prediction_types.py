"""A prediction type from the user's own file runs through build, run and scoring as a built-in one does."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.metrics.base import metric_identity
from harness.results.record import iterate_records
from harness.results.scoring import make_metric
from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.scenarios.base import SCENARIOS

FILE = Path(__file__).parents[2] / "data" / "boxes_scenario.py"


def test_boxes_are_run_and_scored(tmp_path):
    results = harness.evaluate("uniform:step=0.1", f"{FILE}:BOXES", results=tmp_path, limit=8, verify_samples=0)
    (result,) = list(results)
    assert 0.9 < result.score < 1
    (samples,) = tmp_path.glob("boxes@1/uniform/*/samples.parquet")
    row = next(iter(iterate_records(samples)))
    assert row["reference"].startswith('{"all":[') and row["prediction"].startswith('{"all":[')


def test_a_reference_of_another_kind_is_refused_before_the_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMOFCBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"sample 21 .*is no boxes: box 'all' ends before it begins"):
        harness.evaluate("uniform:step=0.1", f"{FILE}:BROKEN", results=tmp_path)


def test_the_type_is_part_of_what_a_score_was_made_with():
    metric = make_metric(SCENARIOS.get(f"{FILE}:BOXES"))
    assert ":Overlap#" in metric_identity(metric) and ":Boxes#" in metric_identity(metric)


def test_a_shipped_metric_that_does_not_know_the_type_is_refused():
    with pytest.raises(ScenarioError, match=r"metric 'accuracy' compares .*, not boxes"):
        make_metric(SCENARIOS.get(f"{FILE}:SHIPPED"))
