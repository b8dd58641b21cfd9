"""The report as markdown, for reading in a terminal, a pull request or a model card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from harness.report import text
from harness.report.render import cells, detail_tables, overall_tables, scenario_tables
from harness.report.summary import ScenarioSummary, Summary
from lamofcbench.markdown import markdown_table

_DETAILS = (
    detail_tables.front_table,
    detail_tables.deployment_table,
    detail_tables.tensor_table,
    detail_tables.bound_table,
    detail_tables.codec_table,
)
_SPECIAL = re.compile(r"([\\`*_\[\]{}#|~$!^])")


def escape(value: str) -> str:
    r"""Text that markdown shows as it is, on one line.

    Example:
        >>> escape("a|b <script> *c*")
        'a\\|b &lt;script&gt; \\*c\\*'
    """
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", value)


def render(summary: Summary, figures: Mapping[str, str], overview: str) -> str:
    """The whole report.

    Args:
        summary: what to show.
        figures: file name of each scenario's figure, by scenario id.
        overview: file name of the figure of all scenarios.
    """
    lines = ["# LaMoFCBench report", "", *(f"> {line}\n>" for line in _introduction(summary)[:-1])]
    lines += [f"> {_introduction(summary)[-1]}", ""]
    if summary.warnings:
        lines += [
            "## Warnings",
            "",
            *(f"- {escape(text.shown(warning, text.MAX_LINE))}" for warning in summary.warnings),
            "",
        ]
    lines += [*(f"- {escape(finding)}" for finding in summary.findings), ""]
    overall = (
        *overall_tables.overall_tables(summary),
        *overall_tables.matrix_tables(summary),
        *overall_tables.transfer_tables(summary),
    )
    for table in (*overall, scenario_tables.headline_table(summary)):
        lines += _table(table)
    lines += [f"![Score over rate, all scenarios]({overview})", ""]
    for scenario in summary.scenarios:
        lines += _scenario(scenario, figures[scenario.scenario])
    return "\n".join(lines).rstrip() + "\n"


def _introduction(summary: Summary) -> list[str]:
    interval = f"{100 * summary.confidence:.0f} % intervals in brackets: {summary.resamples} paired bootstrap draws"
    return [
        "The front of a model runs on one device, its features are encoded, sent and decoded, and the tail runs on "
        "another. Measured: the bytes, and what the task score loses.",
        "EBPFP is the rate: 32 is uncoded. Retention is the share of the score that is left between the floor "
        "(calibration mean in place of the features) and the anchor (uncoded features).",
        f"EBPFP@95 is the lowest rate that keeps 95 %. {interval if summary.resamples else 'No intervals'}.",
    ]


def _scenario(scenario: ScenarioSummary, figure: str) -> Iterable[str]:
    title = scenario.title if scenario.title == scenario.scenario else f"{scenario.title} ({scenario.scenario})"
    other = "" if scenario.current else detail_tables.OTHER_PROTOCOL
    yield from (f"## {escape(text.shown(title))}{other}", "")
    anchor, floor = text.estimate(scenario.anchor), text.estimate(scenario.floor)
    covered = text.samples(scenario.samples, scenario.test_samples)
    yield from (f"{covered}; uncoded {escape(anchor)}, calibration mean {escape(floor)}.", "")
    yield from (f"![Score and error over rate]({figure})", "")
    yield from _table(scenario_tables.points_table(scenario))
    yield from (f"- {escape(answer)}" for answer in detail_tables.deployment_answers(scenario))
    yield ""
    for table in _DETAILS:
        yield from _table(table(scenario))
    yield from ("### Protocol", "")
    yield from (f"- {escape(name)}: {escape(value)}" for name, value in detail_tables.protocol_facts(scenario))
    yield ""


def _table(table: cells.Table) -> Iterable[str]:
    yield from (f"### {table.title}", "")
    numeric = [at for at, column in enumerate(table.columns) if column.numeric]
    head, rows = [escape(column.name) for column in table.columns], [list(map(_cell, row)) for row in table.rows]
    yield markdown_table(head, rows, right=numeric)
    yield ""
    for note in table.notes:
        yield from (escape(note), "")


def _cell(cell: cells.Cell) -> str:
    shown = escape(cell.text)
    return f"**{shown}**" if cell.strong and shown else shown
