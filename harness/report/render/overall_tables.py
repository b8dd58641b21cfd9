"""The tables over all scenarios of an edition: who compresses most, who wins where, and codecs fitted elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.report import text
from harness.report.editions import by_edition, tracks
from harness.report.render.cells import (
    CLASS_RANK_COLUMN,
    CODEC_COLUMN,
    EBPFP_HINT,
    FAITHFUL_COLUMNS,
    GAP_HINT,
    JOINT_GAP,
    JOINT_GAP_HINT,
    KNOWLEDGE_COLUMN,
    SPEED_HINT,
    STATE_COLUMN,
    Cell,
    Column,
    Table,
    estimate_cell,
    name_cell,
    number_cell,
    rank_cell,
    state_cell,
    unverified_notes,
)
from harness.report.summary import (
    RETAINED_PERCENTS,
    CodecSummary,
    Estimate,
    OverallBDRate,
    OverallRow,
    ScenarioSummary,
    Summary,
    Transfer,
)
from harness.report.transfers import matrices
from harness.statistics.curves import geometric_mean

if TYPE_CHECKING:
    from lamofcbench.models.base import ResponseKind


def overall_tables(summary: Summary) -> list[Table]:
    """The overall table of each edition, whose name it bears where there are several."""
    return _by_edition(summary, overall_table)


def matrix_tables(summary: Summary) -> list[Table]:
    """The table of who wins where of each edition."""
    return _by_edition(summary, matrix_table)


def transfer_tables(summary: Summary) -> list[Table]:
    """The matrices of codecs that were fitted on other scenarios too: what they were fitted on by what they code."""
    return [_transfer_table(matrix) for matrix in matrices(summary.transfers)]


def _transfer_table(matrix: Sequence[Transfer]) -> Table:
    sources, coded = (sorted({getattr(transfer, name) for transfer in matrix}) for name in ("fitted_on", "coded"))
    known = {(transfer.fitted_on, transfer.coded): transfer.retained for transfer in matrix}
    rows = [
        [
            name_cell(source),
            *(
                Cell(text.reached_rate(kept) + (" (own)" if source == name else ""), kept.ebpfp.value)
                if (kept := known.get((source, name))) is not None
                else Cell(text.NOTHING)
                for name in coded
            ),
        ]
        for source in sources
    ]
    notes = ["EBPFP of scenarios in columns, of the codec fitted on those in rows."]
    rates = [kept.ebpfp.value for (source, name), kept in known.items() if source != name]
    means = [rate for rate in rates if rate is not None]
    if means and len(means) == len(rates):
        mean, geometric = (text.number(float(value)) for value in (sum(means) / len(means), geometric_mean(means)))
        pairs = f"{len(means)} ordered pair{'s' if len(means) > 1 else ''}"
        notes.append(f"Fitted on one and run on another: {mean} in the mean over {pairs}, geometrically {geometric}.")
    columns = [Column("fitted on", numeric=False), *(Column(text.shown(name)) for name in coded)]
    title = f"Fitted elsewhere: {text.shown(matrix[0].codec)}, EBPFP@{matrix[0].retained.percent}"
    return Table(title, columns, rows, notes)


def _by_edition(summary: Summary, make: Callable[[Summary], Table]) -> list[Table]:
    made = {edition: make(part) for edition, part in by_edition(summary).items()}
    if len(made) == 1:
        return list(made.values())
    return [replace(table, title=f"{table.title}, {edition} edition") for edition, table in made.items()]


def overall_table(summary: Summary) -> Table:
    """A row a codec: geometric mean rates over one edition, BD-rates, distance to the bound, speeds."""
    reference = text.shown(summary.reference) if summary.reference else "no reference"
    percent = str(summary.ranking_percent)
    kinds: list[ResponseKind] = ["logits"] * any(row.faithful_scenarios for row in summary.overall)
    kinds += ["values"] * any(row.low_error_scenarios for row in summary.overall)
    joined = any(row.joint_bound_gap is not None for row in summary.overall)
    columns = [
        Column("rank"),
        CODEC_COLUMN,
        KNOWLEDGE_COLUMN,
        CLASS_RANK_COLUMN,
        STATE_COLUMN,
        Column(f"compression at {percent} %", f"geometric mean over scenarios of 32 / EBPFP@{percent}"),
        *(Column(f"EBPFP@{p}", f"{EBPFP_HINT.format(p)}; geometric mean over scenarios") for p in RETAINED_PERCENTS),
        *(
            replace(c, hint=f"{c.hint}; geometric mean over scenarios")
            for c in map(FAITHFUL_COLUMNS.__getitem__, kinds)
        ),
        Column("BD-rate, score", f"mean rate difference to {reference} at equal score; geometric mean over scenarios"),
        Column("BD-rate, MSE", f"mean rate difference to {reference} at equal MSE; geometric mean over scenarios"),
        Column("bits above bound", GAP_HINT + "; mean over scenarios"),
        *([Column(JOINT_GAP, JOINT_GAP_HINT + "; mean over the scenarios that have it")] if joined else []),
        Column("encode MB/s", SPEED_HINT + "; geometric mean over scenarios"),
        Column("decode MB/s", SPEED_HINT + "; geometric mean over scenarios"),
    ]
    rows = []
    for row in summary.overall:
        compression = row.compression[percent]
        ranked = compression.value is not None
        hint = f"no figure for {', '.join(map(text.shown, row.missing))}" if row.missing else ""
        sign = "≥ " if row.at_least[percent] and ranked else ""
        cells = [
            rank_cell(row.rank),
            name_cell(row.codec, strong=row.rank == 1),
            Cell(row.trained_on or text.NOTHING),
            rank_cell(row.class_rank),
            state_cell(row.state_bytes),
        ]
        cells.append(Cell(sign + text.times(compression), compression.value, row.rank == 1, hint))
        for p in map(str, RETAINED_PERCENTS):
            sign = "≤ " if row.at_least[p] and row.ebpfp[p].value is not None else ""
            cells.append(Cell(sign + text.estimate(row.ebpfp[p]), row.ebpfp[p].value, hint=hint))
        if "logits" in kinds:
            cells.append(_over_some(row.faithful_ebpfp, row.faithful_scenarios, summary))
        if "values" in kinds:
            cells.append(_over_some(row.low_error_ebpfp, row.low_error_scenarios, summary))
        for record in (row.bd_rate_score, row.bd_rate_mse):
            cells.append(_overall_bd_rate(record, row, summary))
        cells.append(_over_some(row.bound_gap, row.bound_scenarios, summary))
        if joined:
            cells.append(number_cell(row.joint_bound_gap))
        rows.append([*cells, estimate_cell(row.encode_mb_per_s), estimate_cell(row.decode_mb_per_s)])
    notes = [
        *unverified_notes(row.codec for row in summary.overall if not row.verified_samples),
        f"Ranked by the compression at {percent} % of the score; bold: the first. Brackets hold intervals; (n of m) "
        "counts scenarios.",
    ]
    incomplete = [row for row in summary.overall if row.missing]
    if incomplete:
        names = "; ".join(f"{text.shown(r.codec)} lacks {', '.join(map(text.shown, r.missing))}" for r in incomplete)
        notes.append(f"Only codecs with a figure for every scenario get a mean: {names}.")
    return Table("Overall", columns, rows, notes)


def _over_some(value: Estimate, scenarios: int, summary: Summary) -> Cell:
    """A mean over so many scenarios, which says so where they are not all."""
    count = len(tracks(summary.scenarios))
    some = scenarios < count and value.value is not None
    return Cell(text.estimate(value) + (f" ({scenarios} of {count})" if some else ""), value.value)


def _overall_bd_rate(record: OverallBDRate, row: OverallRow, summary: Summary) -> Cell:
    if row.codec == summary.reference:
        return Cell("reference", 0.0)
    count = len(tracks(summary.scenarios))
    some = 0 < record.scenarios < count
    mark = f" ({record.scenarios} of {count})" if some else ""
    return Cell(text.rate_change(record.percent) + mark, record.percent.value)


def matrix_table(summary: Summary) -> Table:
    """A row a codec, a column a scenario: the ranking EBPFP@p, the best of each column bold."""
    scenarios = summary.scenarios
    best = [
        next((c.codec for c in s.codecs if c.role == "codec" and _ranking(c, s) is not None), None) for s in scenarios
    ]
    columns = [
        CODEC_COLUMN,
        *(Column(text.shown(s.scenario), f"EBPFP@{s.ranking_percent}: {text.shown(s.title)}") for s in scenarios),
    ]
    columns.append(Column("wins", "scenarios on which the codec has the lowest rate"))
    rows = []
    for name in [row.codec for row in summary.overall]:
        cells = [name_cell(name)]
        for scenario, winner in zip(scenarios, best, strict=True):
            codec = next((codec for codec in scenario.codecs if codec.codec == name), None)
            kept = None if codec is None else codec.retained_at(scenario.ranking_percent)
            if kept is None or kept.ebpfp.value is None:
                cells.append(Cell(text.NOTHING))
                continue
            shown = text.bounded(kept.ebpfp.value, kept.bound)
            cells.append(Cell(shown, kept.ebpfp.value, name == winner))
        wins = best.count(name)
        rows.append([*cells, Cell(str(wins), wins)])
    percents = sorted({s.ranking_percent for s in scenarios})
    ranked = " or ".join(f"@{percent}" for percent in percents)
    return Table("Who wins where", columns, rows, [f"EBPFP{ranked}: lower is better. Bold: the first of its scenario."])


def _ranking(codec: CodecSummary, scenario: ScenarioSummary) -> float | None:
    return codec.retained_at(scenario.ranking_percent).ebpfp.value
