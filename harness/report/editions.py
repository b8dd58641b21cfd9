"""A summary edition by edition: models and tasks of one are not those of another, so no mean runs over several."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.summary import ScenarioSummary, Summary


def by_edition(summary: Summary) -> dict[str, Summary]:
    """For each edition, in the order of the scenarios, what the summary has of its scenarios."""
    return {
        edition: summary.model_copy(
            update={
                "overall": [row for row in summary.overall if row.edition == edition],
                "scenarios": [scenario for scenario in summary.scenarios if scenario.edition == edition],
            }
        )
        for edition in dict.fromkeys(scenario.edition for scenario in summary.scenarios)
    }


def tracks(scenarios: Sequence[ScenarioSummary]) -> list[ScenarioSummary]:
    """Those that means run over: all but variants, which have results of their own; variants where they are alone."""
    return [scenario for scenario in scenarios if scenario.variant_of is None] or list(scenarios)
