"""From a results folder to a `Summary`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.report import ladder_ends, text
from harness.report.analysis import FindSpectra, ScenarioAnalysis, analyse_scenario
from harness.report.collect import Evidence, read_results
from harness.report.contexts import comparable
from harness.report.editions import by_edition, tracks
from harness.report.findings import findings, winner
from harness.report.kind_findings import kind_findings, rates_of
from harness.report.origins import Origin, is_ours, labelled, labels_of, origin_of
from harness.report.overall import overall_rows
from harness.report.spectra import Spectra, read_spectra
from harness.report.summary import ScenarioSummary, Summary
from harness.report.transfers import at_home, transfers
from harness.results.result import Result
from harness.statistics import bootstrap
from lamofcbench.errors import LaMoFCBenchError, UnknownNameError
from lamofcbench.scenarios.base import Scenario
from lamofcbench.version import __version__

DEFAULT_REFERENCE = "uniform"
MOST_NAMED = 6
"""Scenarios in a warning."""


@dataclass(frozen=True)
class Analysed:
    """Results, scenario by scenario.

    Attributes:
        analyses: what was found of each scenario.
        reference: the codec that BD-rates refer to; None where there are no results of it.
        evidence: the results of codecs at home, see `harness.report.transfers`.
        elsewhere: those of codecs that were fitted on other scenarios.
        warnings: what a reader must know.
    """

    analyses: list[ScenarioAnalysis]
    reference: str | None
    evidence: list[Evidence]
    elsewhere: list[Evidence]
    warnings: list[str]


def compile_summary(
    results_dir: str | Path,
    reference: str | None = None,
    *,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
    scenarios: Sequence[Scenario] = (),
    bound: bool = True,
    data: str | Path | None = None,
) -> Summary:
    """Everything that a report shows.

    Args:
        results_dir: the folder given to ``lamofcbench run --results``.
        reference: the codec that BD-rates refer to, as the report calls it; None for this project's ``uniform`` where
            there are results of it.
        resamples: bootstrap draws; 0 leaves the intervals out.
        seed: of the draws.
        scenarios: scenarios from users' own files, whose metrics the intervals need.
        bound: False leaves out the Gaussian bound, which reads the calibration split once and is then kept in the
            results folder.
        data: a dataset folder with the calibration splits; None for the cache of mini data.

    Raises:
        ResultsError: if the folder holds no usable result.
        UnknownNameError: if no result is of the named reference.
        LaMoFCBenchError: if results of several codecs are of that name.
    """
    analysed = analyse_results(
        results_dir, reference, resamples=resamples, seed=seed, scenarios=scenarios, bound=bound, data=data
    )
    analyses, declared = analysed.analyses, {scenario.id: scenario for scenario in scenarios}
    ranking_percent = min(analysis.summary.ranking_percent for analysis in analyses)
    summary = Summary(
        lamofcbench_version=__version__,
        reference=analysed.reference,
        resamples=resamples,
        confidence=bootstrap.CONFIDENCE,
        bootstrap_seed=seed,
        ranking_percent=ranking_percent,
        findings=[],
        overall=overall_rows(analyses, ranking_percent),
        scenarios=[analysis.summary for analysis in analyses],
        transfers=transfers(
            [analysis.summary for analysis in analyses],
            analysed.evidence,
            analysed.elsewhere,
            resamples,
            seed,
            declared,
        ),
        warnings=[*analysed.warnings, *_in_part(analysis.summary for analysis in analyses)],
    )
    return summary.model_copy(update={"findings": _findings(summary)})


def analyse_results(
    results_dir: str | Path,
    reference: str | None = None,
    *,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
    scenarios: Sequence[Scenario] = (),
    bound: bool = True,
    data: str | Path | None = None,
    objection: Callable[[Result], str] = lambda result: "",
) -> Analysed:
    """What a report is made from, scenario by scenario; other arguments and errors are those of `compile_summary`.

    Results that `objection` has a reason against are left out before anything is made of them, see `read_results`.
    """
    declared = {scenario.id: scenario for scenario in scenarios}
    found, warnings = read_results(Path(results_dir), declared, objection)
    evidence, elsewhere = at_home(found)
    groups, left_out = comparable(evidence)
    labels = labels_of(origin_of(item) for group in groups.values() for item in group)
    groups, reference = labelled(groups, labels), _reference(reference, labels)
    find_spectra = _spectra_finder(Path(results_dir), data) if bound else None
    analyses = [
        analyse_scenario(
            group, reference=reference, resamples=resamples, seed=seed, declared=declared, find_spectra=find_spectra
        )
        for group in groups.values()
    ]
    told = [*warnings, *left_out, *(line for analysis in analyses for line in analysis.warnings)]
    return Analysed(analyses, reference, evidence, elsewhere, told)


def _in_part(scenarios: Iterable[ScenarioSummary]) -> list[str]:
    """A warning that names the scenarios whose figures cover a part of their test samples alone, if there are any."""
    part = [scenario for scenario in scenarios if scenario.in_part]
    named = [f"{s.scenario} ({text.samples(s.samples, s.test_samples)})" for s in part[:MOST_NAMED]]
    more = f" and {len(part) - MOST_NAMED} more" if len(part) > MOST_NAMED else ""
    return [f"figures are of a part of the test samples alone on {', '.join(named)}{more}"] if part else []


def _findings(summary: Summary) -> list[str]:
    parts = by_edition(summary)
    return [
        line if len(parts) == 1 else f"{edition} edition: {line}"
        for edition, part in parts.items()
        for line in _of_edition(part, tracks(part.scenarios))
    ]


def _of_edition(part: Summary, counted: Sequence[ScenarioSummary]) -> list[str]:
    percent, in_part = part.ranking_percent, sum(scenario.in_part for scenario in counted)
    return [
        *findings(part.overall, [winner(scenario) for scenario in counted], percent, in_part),
        *kind_findings(counted, rates_of(counted, percent), percent),
        *ladder_ends.sentences(ladder_ends.open_ends(counted)),
    ]


def _reference(named: str | None, labels: Mapping[Origin, str]) -> str | None:
    """The label of the codec that BD-rates refer to: the named one, or this project's uniform where it has results.

    Raises:
        UnknownNameError: if there is no such codec.
        LaMoFCBenchError: if several have the name.
    """
    if named is None:
        ours = [origin for origin in labels if origin[0] == DEFAULT_REFERENCE and is_ours(origin)]
        return DEFAULT_REFERENCE if DEFAULT_REFERENCE in map(labels.__getitem__, ours) else None
    if named in labels.values():
        return named
    found = sorted(label for (name, _), label in labels.items() if name == named)
    if len(found) > 1:
        raise LaMoFCBenchError(f"several codecs are named {named!r}; the reference may be {' or '.join(found)}")
    if not found:
        raise UnknownNameError("reference codec", named, list(labels.values()))
    return found[0]


def _spectra_finder(results_dir: Path, data: str | Path | None) -> FindSpectra:
    def find(scenario: Scenario, result: Result, floor: Result | None) -> Spectra:
        return read_spectra(results_dir, scenario, result, floor, data)

    return find
