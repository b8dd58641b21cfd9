"""From a results folder to a `Summary`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness import bootstrap, curves
from harness.report.analysis import ScenarioAnalysis, analyse_scenario
from harness.report.collect import read_results
from harness.report.contexts import comparable
from harness.report.summary import RETAINED_PERCENTS, Estimate, OverallRow, Summary
from lamofcbench.errors import UnknownNameError
from lamofcbench.scenarios.base import Scenario
from lamofcbench.version import __version__

DEFAULT_REFERENCE = "uniform"


def compile_summary(
    results_dir: str | Path,
    reference: str | None = None,
    *,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
    scenarios: Sequence[Scenario] = (),
) -> Summary:
    """Everything that a report shows.

    Args:
        results_dir: the folder given to ``lamofcbench run --results``.
        reference: the codec that BD-rates refer to; None for ``uniform`` where there are results of it.
        resamples: bootstrap draws; 0 leaves the intervals out.
        seed: of the draws.
        scenarios: scenarios from users' own files, whose metrics the intervals need.

    Raises:
        ResultsError: if the folder holds no usable result.
        UnknownNameError: if no result is of the named reference.
    """
    evidence, warnings = read_results(Path(results_dir))
    groups, left_out = comparable(evidence)
    names = {item.result.codec.name for group in groups.values() for item in group}
    if reference is not None and reference not in names:
        raise UnknownNameError("reference codec", reference, names)
    if reference is None and DEFAULT_REFERENCE in names:
        reference = DEFAULT_REFERENCE
    declared = {scenario.id: scenario for scenario in scenarios}
    analyses = [
        analyse_scenario(group, reference=reference, resamples=resamples, seed=seed, declared=declared)
        for group in groups.values()
    ]
    ranking_percent = min(analysis.summary.ranking_percent for analysis in analyses)
    return Summary(
        lamofcbench_version=__version__,
        reference=reference,
        resamples=resamples,
        confidence=bootstrap.CONFIDENCE,
        bootstrap_seed=seed,
        ranking_percent=ranking_percent,
        overall=_overall(analyses, ranking_percent),
        scenarios=[analysis.summary for analysis in analyses],
        warnings=[*warnings, *left_out, *(line for analysis in analyses for line in analysis.warnings)],
    )


def _overall(analyses: Sequence[ScenarioAnalysis], ranking_percent: int) -> list[OverallRow]:
    """A row for each codec but anchor and floor; the best first, those without a figure last."""
    names = {codec.codec for part in analyses for codec in part.summary.codecs if codec.role == "codec"}
    rows = [_overall_row(name, analyses) for name in sorted(names)]

    def rank(row: OverallRow) -> tuple[bool, float, int]:
        value = row.compression[str(ranking_percent)].value
        return (value is None, -(value or 0.0), len(row.missing))

    return sorted(rows, key=rank)


def _overall_row(name: str, analyses: Sequence[ScenarioAnalysis]) -> OverallRow:
    """The geometric mean over all scenarios; a codec that lacks one gets none, for easy scenarios would flatter it."""
    missing, found, draws = [], [], []
    for analysis in analyses:
        codec = next((codec for codec in analysis.summary.codecs if codec.codec == name), None)
        if codec is None or codec.retained[0].compression is None:
            missing.append(analysis.summary.scenario)
        else:
            found.append({retained.percent: retained for retained in codec.retained})
            draws.append(analysis.draws.get(name, {}))
    compression, at_least = {}, {}
    for percent in RETAINED_PERCENTS:
        key = str(percent)
        at_least[key] = any(retained[percent].bound == "at most" for retained in found)
        compression[key] = Estimate(value=None) if missing else _geometric_mean(found, draws, percent)
    return OverallRow(codec=name, missing=missing, compression=compression, at_least=at_least)


def _geometric_mean(found: Sequence[Mapping], draws: Sequence[Mapping[int, np.ndarray]], percent: int) -> Estimate:
    value = float(curves.geometric_mean([retained[percent].compression for retained in found]))
    if not all(percent in part for part in draws):
        return Estimate(value=value)
    # Draws of different scenarios are independent (their streams differ), so any order pairs them.
    joint = curves.geometric_mean(curves.UNCODED_EBPFP / np.stack([part[percent] for part in draws]), axis=0)
    bounds = bootstrap.interval(joint)
    return Estimate(value=value) if bounds is None else Estimate(value=value, low=bounds[0], high=bounds[1])
