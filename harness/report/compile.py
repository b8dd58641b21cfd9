"""From a results folder to a `Summary`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.report.analysis import FindSpectra, analyse_scenario
from harness.report.bounds import read_spectra
from harness.report.collect import read_results
from harness.report.contexts import comparable
from harness.report.findings import findings, winner
from harness.report.overall import overall_rows
from harness.report.summary import Summary
from harness.results.result import Result
from harness.statistics import bootstrap
from harness.statistics.gaussian_bound import Spectrum
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
    bound: bool = True,
    data: str | Path | None = None,
) -> Summary:
    """Everything that a report shows.

    Args:
        results_dir: the folder given to ``lamofcbench run --results``.
        reference: the codec that BD-rates refer to; None for ``uniform`` where there are results of it.
        resamples: bootstrap draws; 0 leaves the intervals out.
        seed: of the draws.
        scenarios: scenarios from users' own files, whose metrics the intervals need.
        bound: False leaves out the Gaussian bound, which reads the calibration split once and is then kept in the
            results folder.
        data: a dataset folder with the calibration splits; None for the cache of mini data.

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
    find_spectra = _spectra_finder(Path(results_dir), Path(data) if data is not None else None) if bound else None
    analyses = [
        analyse_scenario(
            group, reference=reference, resamples=resamples, seed=seed, declared=declared, find_spectra=find_spectra
        )
        for group in groups.values()
    ]
    ranking_percent = min(analysis.summary.ranking_percent for analysis in analyses)
    overall = overall_rows(analyses, ranking_percent)
    return Summary(
        lamofcbench_version=__version__,
        reference=reference,
        resamples=resamples,
        confidence=bootstrap.CONFIDENCE,
        bootstrap_seed=seed,
        ranking_percent=ranking_percent,
        findings=findings(overall, [winner(analysis.summary) for analysis in analyses], ranking_percent),
        overall=overall,
        scenarios=[analysis.summary for analysis in analyses],
        warnings=[*warnings, *left_out, *(line for analysis in analyses for line in analysis.warnings)],
    )


def _spectra_finder(results_dir: Path, data: Path | None) -> FindSpectra:
    def find(scenario: Scenario, result: Result) -> Mapping[str, Spectrum]:
        return read_spectra(results_dir, scenario, result, data)

    return find
