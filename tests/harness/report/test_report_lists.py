"""The report says by whose list a metric judged that may be given one."""

from __future__ import annotations

import pytest

from harness.report.render.detail_tables import protocol_facts
from harness.report.summary import ScenarioSummary

OURS = "lamofcbench:refusal-rate@2"


def facts(metric: str, identity: str) -> dict[str, str]:
    fields = dict.fromkeys(ScenarioSummary.model_fields, "") | {
        "scenario": "cau-advbench",
        "metric": metric,
        "metric_identity": identity,
        "raw_bytes_per_sample": 1.0,
        "elements_per_sample": 1.0,
        "given_bytes_per_sample": 0.0,
        "run": {},
    }
    return dict(protocol_facts(ScenarioSummary.model_construct(**fields)))


def test_a_list_that_was_given_is_told_by_number_and_hash():
    told = facts("refusal-rate", f"{OURS} + phrases:71#0123456789abcdef")
    assert told["phrases of the metric"] == "phrases:71#0123456789abcdef"


def test_where_none_was_given_the_rules_are_ours():
    assert facts("refusal-rate", OURS)["phrases of the metric"] == "none given: the rules of this project"


@pytest.mark.parametrize("metric", ["accuracy", "mine.py:RefusalRate"])
def test_metrics_without_lists_say_nothing_of_them(metric):
    assert not any(name.endswith("of the metric") and not name.startswith("code") for name in facts(metric, "x"))
