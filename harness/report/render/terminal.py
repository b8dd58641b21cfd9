"""The headline and the rate points as tables for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from harness.console import fitting
from harness.report import recommend, text
from harness.report.comparison import Comparison
from harness.report.recommend import Answer, Question
from harness.report.render import cells, comparison_tables, detail_tables, overall_tables, scenario_tables
from harness.report.render.brief_tables import brief_tables
from harness.report.summary import Summary

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PIPE_WIDTH = 200
"""Columns where the output is no terminal, so that nothing in a log is folded."""

BRIEF_BELOW = 140
"""A narrower terminal gets fewer columns, and figures without their intervals."""

BRIEF_WIDTH = 80
"""What the brief report fits, terminal or pipe."""

MAX_NAME_WIDTH = 32

_DROPPED = ("BPFP", "MSE", "BD-rate, MSE", "front", "verified")
_DROPPED_BRIEF = (
    *_DROPPED,
    *(
        "NMSE",
        "KL, nats",
        "response error",
        "bits above joint bound",
        "above bound",
        "above joint bound",
        "EBPFP@99",
    ),
    *("trained on", "in class", "state"),
)


def terminal_brief(summary: Summary, file: IO[str] | None = None) -> None:
    """Prints what a report says in 80 columns: who wins, the findings, what to take for a link, one compact table.

    Args:
        summary: what to show.
        file: stdout where absent.
    """
    console = _console(file)
    console.width = min(console.width, BRIEF_WIDTH)
    for warning in summary.warnings:
        console.print(_text(console, f"warning: {text.shown(warning, text.MAX_LINE)}", "yellow"))
    for finding in summary.findings:
        _bullet(console, finding)
    for sentence in recommend.over_links(recommend.recommend(summary, Question()), Question()):
        _bullet(console, sentence)
    console.print()
    for table in brief_tables(summary):
        console.print(_rich(console, table, drop=(), brief=True, title=table.title))
        for note in table.notes:
            console.print(_text(console, note, "dim"))


def _bullet(console: Console, sentence: str) -> None:
    """A sentence behind a dash; what does not fit on the line stands below it."""
    import textwrap

    wrapped = textwrap.wrap(sentence, console.width - 2, break_long_words=False, break_on_hyphens=False)
    console.print(_text(console, "- " + "\n  ".join(wrapped)))


def terminal_table(summary: Summary, file: IO[str] | None = None, *, points: bool = True) -> None:
    """Prints the overall ranking, the headline and, where asked for, every rate point; warnings first.

    Args:
        summary: what to show.
        file: stdout where absent.
        points: False leaves out the rate points.
    """
    console = _console(file)
    brief = console.width < BRIEF_BELOW
    drop = _DROPPED_BRIEF if brief else _DROPPED
    for warning in summary.warnings:
        console.print(_text(console, f"warning: {text.shown(warning, text.MAX_LINE)}", "yellow"))
    overall = overall_tables.overall_tables(summary) if len(summary.scenarios) > 1 else []
    chosen = [*overall, scenario_tables.headline_table(summary), *overall_tables.transfer_tables(summary)]
    for table in chosen:
        console.print(_rich(console, table, drop=drop, brief=brief))
        for note in table.notes:
            console.print(_text(console, note, "dim"))
    for scenario in summary.scenarios if points else ():
        title = text.shown(scenario.scenario) + ("" if scenario.current else detail_tables.OTHER_PROTOCOL)
        console.print(_rich(console, scenario_tables.points_table(scenario), title=title, drop=drop, brief=brief))


def terminal_recommendation(answers: Sequence[Answer], question: Question, file: IO[str] | None = None) -> None:
    """Prints which operating points to take and why, within the width of any terminal.

    Args:
        answers: for each kind of features.
        question: what was asked.
        file: stdout where absent.
    """
    console = _console(file)
    for number, (title, answer) in enumerate(zip(recommend.titles(answers, question), answers, strict=True)):
        if number:
            console.print()
        console.print(_text(console, title, "bold"))
        found = recommend.lines(answer, question)
        if not found:
            console.print(_text(console, f"  {recommend.why_none(answer)}", ""))
        aims = max((len(aim) for aim, _, _ in found), default=0)
        for aim, point, reasons in found:
            console.print(_text(console, f"  {aim.ljust(aims)}  {point}", ""))
            for reason in reasons:
                console.print(_text(console, f"  {' ' * aims}    {reason}", "dim"))
        for sentence in recommend.left_out(answer):
            console.print(_text(console, f"  {sentence}", "dim"))


def terminal_comparison(comparison: Comparison, file: IO[str] | None = None, *, everything: bool = False) -> None:
    """Prints what changed between two runs; warnings first, how it was decided last.

    Args:
        comparison: what to show.
        file: stdout where absent.
        everything: also what did not change.
    """
    console = _console(file)
    for warning in comparison.warnings:
        console.print(_text(console, f"warning: {text.shown(warning, text.MAX_LINE)}", "yellow"))
    table = comparison_tables.comparison_table(comparison, everything=everything)
    if table.rows:
        console.print(_rich(console, table, drop=(), brief=console.width < BRIEF_BELOW))
    for note in comparison_tables.comparison_notes(comparison):
        console.print(_text(console, note))


def _console(file: IO[str] | None) -> Console:
    from rich.console import Console

    file = sys.stdout if file is None else file
    return Console(file=file, width=None if file.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=False)


def _text(console: Console, line: str, style: str = "") -> Text:
    """A `Text`, which is never read as markup, in letters that the console has."""
    from rich.text import Text

    return Text(fitting(line, console.file), style=style)


def _rich(console: Console, table: cells.Table, *, drop: tuple[str, ...], brief: bool, title: str = "") -> Table:
    from rich import box
    from rich.table import Table

    made = Table(
        title=_text(console, title or table.title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    kept = [position for position, column in enumerate(table.columns) if column.name not in drop]
    for position in kept:
        column = table.columns[position]
        made.add_column(
            _text(console, column.name),
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=not column.numeric,  # heads of figures may fold, names should not
        )
    for row in table.rows:
        cells = []
        for position in kept:
            cell, numeric = row[position], table.columns[position].numeric
            shown = cell.text
            if numeric and brief:
                shown = shown.partition(" [")[0]
            elif not numeric:
                shown = text.shown(shown, MAX_NAME_WIDTH)
            cells.append(_text(console, shown, "bold" if cell.strong else ""))
        made.add_row(*cells)
    return made
