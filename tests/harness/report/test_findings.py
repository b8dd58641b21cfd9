"""Findings say nothing that figures of different scenarios would have to tell."""

from types import SimpleNamespace

from harness.report.findings import _bound


def row(codec, gap, scenarios):
    estimate = SimpleNamespace(value=gap)
    return SimpleNamespace(codec=codec, bound_gap=estimate, bound_scenarios=scenarios, joint_bound_gap=None)


def test_who_is_closest_to_the_bound_is_said_of_the_same_scenarios_alone():
    assert _bound([row("near", 1.0, 3), row("far", 2.0, 3)]).startswith(
        "Closest to the Gaussian bound of tensors one by one is near"
    )
    assert _bound([row("near", 1.0, 2), row("far", 2.0, 3)]) == ""
