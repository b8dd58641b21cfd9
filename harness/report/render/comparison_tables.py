"""A comparison of two runs as a table with notes."""

from __future__ import annotations

from harness.report import text
from harness.report.comparison import RETAINED, Comparison, Verdict
from harness.report.render.cells import (
    CODEC_COLUMN,
    POINT_COLUMN,
    SCENARIO_COLUMN,
    Cell,
    Column,
    Table,
    name_cell,
)
from harness.statistics.curves import Bound

MAX_NAMES = 8
VERDICTS: tuple[Verdict, ...] = ("worse", "better", "same")


def comparison_table(comparison: Comparison, *, everything: bool = False) -> Table:
    """A row a figure that changed beyond noise, the worse ones first; or all figures."""
    columns = [
        SCENARIO_COLUMN,
        CODEC_COLUMN,
        POINT_COLUMN,
        Column("figure", numeric=False),
        Column("before"),
        Column("after"),
    ]
    columns += [Column("change"), Column("verdict", numeric=False)]
    rows = [
        [
            name_cell(pair.scenario),
            name_cell(pair.codec),
            name_cell("curve" if change.measure in RETAINED else pair.label),
            name_cell(change.measure),
            _figure(change.a, change.bound_a),
            _figure(change.b, change.bound_b),
            Cell(text.signed(change.difference) + (" %" if change.unit else ""), change.difference.value),
            Cell(change.verdict, change.verdict, strong=change.verdict != "same"),
        ]
        for verdict in (VERDICTS if everything else VERDICTS[:2])
        for pair, change in comparison.changes(verdict)
    ]
    return Table("Changes beyond noise" if not everything else "All figures", columns, rows)


def _figure(value: float, bound: Bound | None) -> Cell:
    """A figure of a run, with the sign of a bound."""
    return Cell(text.bounded(value, bound), value)


def comparison_notes(comparison: Comparison) -> list[str]:
    """What a reader must know of how two runs were compared."""
    confidence = f"{100 * comparison.confidence:g} %"
    notes = [
        f"A change counts where its whole {confidence} interval ({comparison.resamples} bootstrap draws) lies beyond "
        f"zero; for rates beyond {100 * comparison.rate_margin:g} %, for speeds beyond a factor of "
        f"{1 + comparison.speed_margin:g}, because the machine's load moves them."
    ]
    if any("at most" in (change.bound_a, change.bound_b) for pair in comparison.pairs for change in pair.changes):
        notes.append("Behind ≤ the true rate may be lower: it never counts as worse, nor what follows it as better.")
    for part in comparison.scenarios:
        how = "paired" if part.paired else "not paired, independent draws"
        line = f"{text.shown(part.scenario)}: {part.samples} samples, {how}"
        notes.append("; ".join([line, *(text.shown(note, text.MAX_LINE) for note in part.notes)]) + ".")
    for names, run in ((comparison.only_a, "first"), (comparison.only_b, "second")):
        if names:
            shown = ", ".join(text.shown(name) for name in names[:MAX_NAMES])
            more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
            notes.append(f"Only in the {run} run: {shown}{more}.")
    worse, better, same = (len(comparison.changes(verdict)) for verdict in VERDICTS)
    notes.append(f"{worse} worse, {better} better, {same} unchanged or within noise.")
    return notes
