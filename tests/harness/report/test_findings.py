"""Findings say nothing that figures of different scenarios would have to tell, and praise nobody for nothing."""

from types import SimpleNamespace

import pytest
from synthetic_results import Writer

from harness.report.compile import compile_summary
from harness.report.findings import _bound, winner
from harness.report.render.brief_tables import brief_tables

SCENARIOS = ("mini-cvu-digits", "mini-clu-facts", "mini-clu-arithmetic")
LOST, KEPT = 0.2, 0.98


def row(codec, gap, scenarios):
    estimate = SimpleNamespace(value=gap)
    return SimpleNamespace(codec=codec, bound_gap=estimate, bound_scenarios=scenarios, joint_bound_gap=None)


def test_who_is_closest_to_the_bound_is_said_of_the_same_scenarios_alone():
    assert _bound([row("near", 1.0, 3), row("far", 2.0, 3)]).startswith(
        "Closest to the Gaussian bound of tensors one by one is near"
    )
    assert _bound([row("near", 1.0, 2), row("far", 2.0, 3)]) == ""


def report_of(root, scores):
    """Of each scenario the score of `first` and of `other`, both at an EBPFP of 2, and a `third` that keeps none."""
    for scenario, (first, other) in zip(SCENARIOS, scores, strict=False):
        writer = Writer(root, scenario=scenario, samples=30, test_samples=30)
        writer.anchor_and_floor()
        writer.write("first", ebpfp=2.0, score=first)
        writer.write("other", ebpfp=2.0, score=other, trained_on="calibration")
        writer.write("third", ebpfp=1.0, score=LOST)
    return compile_summary(root, resamples=0, bound=False)


@pytest.mark.parametrize("scenarios", [1, 3])
def test_nobody_wins_where_no_codec_keeps_the_score(tmp_path, scenarios):
    summary = report_of(tmp_path, [(LOST, LOST)] * scenarios)
    assert [winner(scenario) for scenario in summary.scenarios] == [None] * scenarios
    where = "." if scenarios == 1 else " on any of 3 scenarios."
    said = "No codec keeps 95 % of the score at a lower rate than uncoded features"
    assert summary.findings[0] == said + where
    assert not any(word in finding for finding in summary.findings for word in ("lowest", "best", "most"))
    assert not any(cell.strong for table in brief_tables(summary) for row in table.rows for cell in row)


def test_a_scenario_that_is_lost_or_shared_counts_as_nobodys(tmp_path):
    summary = report_of(tmp_path, [(KEPT, LOST), (LOST, LOST), (KEPT, KEPT)])
    assert sorted(map(str, map(winner, summary.scenarios))) == ["None", "None", "first"]
    assert "first has the lowest rate on 1 of 3 scenarios, no codec alone on the others." in summary.findings
    everywhere = report_of(tmp_path / "kept", [(KEPT, LOST)] * 2)
    assert "first has the lowest rate on every scenario." in everywhere.findings
