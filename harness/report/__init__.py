"""The report on a results folder: tables, ``summary.json``, figures, one HTML page.

results/ ──collect──► Evidence ──contexts──► comparable results ──analysis──► Summary ──► report.md, summary.json,
(checked)              (one context)        curves,                 curves*.png, index.html,
bootstrap               terminal tables
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.report.terminal import terminal_table
    from harness.report.write import ReportPaths, write_report

__all__ = ["ReportPaths", "terminal_table", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness.report import terminal, write

    return getattr(terminal if name == "terminal_table" else write, name)
