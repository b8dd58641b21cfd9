"""Writes a report: markdown, ``summary.json``, figures and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.report.compile import compile_summary
from harness.report.render.styles import styles_of
from harness.report.summary import Summary
from harness.statistics import bootstrap
from lamofcbench.atomic import write_text
from lamofcbench.locks import LOCKS_DIRECTORY, locked
from lamofcbench.scenarios.base import Scenario

OVERVIEW_FILE = "curves.png"


@dataclass(frozen=True)
class ReportPaths:
    """What was written, and what it says.

    Attributes:
        markdown: ``report.md``.
        summary_json: ``summary.json``, see `harness.report.summary`.
        overview: ``curves.png``, all scenarios side by side.
        figures: ``curves-<scenario>.png`` by scenario id.
        page: ``index.html``.
        summary: the content of ``summary.json``.
    """

    markdown: Path
    summary_json: Path
    overview: Path
    figures: dict[str, Path]
    page: Path
    summary: Summary


def write_report(
    results_dir: str | Path,
    output_dir: str | Path | None = None,
    reference: str | None = None,
    *,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
    scenarios: Sequence[Scenario] = (),
    bound: bool = True,
    data: str | Path | None = None,
) -> ReportPaths:
    """Reports on a results folder; files of an earlier report in the same folder are replaced one by one.

    Args:
        results_dir: the folder given to ``lamofcbench run --results``.
        output_dir: made where missing; ``<results_dir>/report`` where None.
        reference: the codec that BD-rates refer to; None for ``uniform`` where there are results of it.
        resamples: bootstrap draws; 0 leaves the intervals out.
        seed: of the draws.
        scenarios: scenarios from users' own files, whose metrics the intervals need.
        bound: False leaves out the Gaussian bound.
        data: a dataset folder with the calibration splits, for the bound; None for the cache of mini data.

    Raises:
        ResultsError: if the folder holds no usable result.
        UnknownNameError: if no result is of the named reference.
    """
    from harness.report.render import markdown, page, plots  # matplotlib and jinja2 take a second to load

    summary = compile_summary(
        results_dir, reference, resamples=resamples, seed=seed, scenarios=scenarios, bound=bound, data=data
    )
    output_dir = Path(results_dir) / "report" if output_dir is None else Path(output_dir)
    styles = styles_of(summary)
    # Scenario ids have been checked to be plain names, so they make safe file names.
    figures = {scenario.scenario: output_dir / f"curves-{scenario.scenario}.png" for scenario in summary.scenarios}
    paths = ReportPaths(
        markdown=output_dir / "report.md",
        summary_json=output_dir / "summary.json",
        overview=output_dir / OVERVIEW_FILE,
        figures=figures,
        page=output_dir / "index.html",
        summary=summary,
    )
    names = {scenario: path.name for scenario, path in figures.items()}
    with locked(
        output_dir / LOCKS_DIRECTORY / "report.lock", f"writing the report in {output_dir}"
    ):  # files of one report only
        for scenario in summary.scenarios:
            plots.save_png(plots.scenario_figure(scenario, styles), figures[scenario.scenario])
        plots.save_png(plots.overview_figure(summary, styles), paths.overview)
        write_text(paths.markdown, markdown.render(summary, names, OVERVIEW_FILE))
        write_text(paths.summary_json, summary.model_dump_json(indent=2) + "\n")
        write_text(paths.page, page.render(summary, styles))
    return paths
