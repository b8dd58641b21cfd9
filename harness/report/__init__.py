"""The report on a results folder: tables, ``summary.json``, figures, one HTML page.

Data flow one way; what is computed stands here, what shows it in ``render/``::

    results/ ──collect──► Evidence ──contexts──► comparable results ──analysis──► Summary ──render──► report.md
             (checked)              (one context)                     (scored,               summary.json
                                          │                           bd_rates,              curves*.png
                                          └──compare──► Comparison    fronts,                index.html
                                           (with another run)         bounds, overall)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamofcbench.lazy import lazy_exports

if TYPE_CHECKING:
    from harness.report.render.terminal import terminal_brief, terminal_table
    from harness.report.write import ReportPaths, write_report

__all__ = ["ReportPaths", "terminal_brief", "terminal_table", "write_report"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ReportPaths": "write",
        "terminal_brief": "render.terminal",
        "terminal_table": "render.terminal",
        "write_report": "write",
    },
)
