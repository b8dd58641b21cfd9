"""The tables over all scenarios of an edition: who compresses most, who wins where, and codecs fitted elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.report import text
from harness.report.editions import by_edition, tracks
from harness.report.ranks import is_first
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
    rank_cell,
    state_cell,
    unverified_notes,
)
from harness.report.render.scenario_tables import rate_by_responses
from harness.report.summary import (
    RETAINED_PERCENTS,
    BDRateRecord,
    Estimate,
    OverallBDRate,
    OverallRow,
    ScenarioSummary,
    Summary,
    Transfer,
)
from harness.report.transfers import ALL, ALL_OTHERS, SAME, matrices, source_of
from harness.results.fitted_on import is_mixture
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
    coded = sorted({transfer.coded for transfer in matrix})
    rows: dict[str, dict[str, Cell]] = {}
    rates: dict[str, list[float | None]] = {}
    for transfer in matrix:
        kept, source = transfer.retained, source_of(transfer, coded)
        of_one = not is_mixture(transfer.fitted_on)
        title = transfer.fitted_on if of_one else source
        own = " (own)" if source == SAME else ""
        rows.setdefault(title, {})[transfer.coded] = Cell(text.reached_rate(kept) + own, kept.ebpfp.value)
        rates.setdefault("of one" if of_one and not own else source, []).append(kept.ebpfp.value)
    order = sorted(rows, key=lambda title: (title in (ALL_OTHERS, ALL), title))
    cells = [[name_cell(title), *(rows[title].get(name, Cell(text.NOTHING)) for name in coded)] for title in order]
    notes = ["EBPFP of scenarios in columns, of the codec fitted on those in rows."]
    pairs, together = rates.get("of one", []), rates.get(ALL_OTHERS, [])
    if means := _means(pairs):
        counted = f"{len(pairs)} ordered pair{'s' if len(pairs) > 1 else ''}"
        notes.append(f"Fitted on one and run on another: {means} over {counted}.")
    if means := _means(together):
        notes.append(f"Fitted on all others together: {means} over {len(together)} of {len(coded)} scenarios.")
    columns = [Column("fitted on", numeric=False), *(Column(text.shown(name)) for name in coded)]
    title = f"Fitted elsewhere: {text.shown(matrix[0].codec)}, EBPFP@{matrix[0].retained.percent}"
    return Table(title, columns, cells, notes)


def _means(rates: Sequence[float | None]) -> str:
    """Two means of rates; nothing where one is missing, or all."""
    known = [rate for rate in rates if rate is not None]
    if not known or len(known) < len(rates):
        return ""
    mean, geometric = text.number(sum(known) / len(known)), text.number(float(geometric_mean(known)))
    return f"{mean} in the mean, geometrically {geometric},"


def _by_edition(summary: Summary, make: Callable[[Summary], Table]) -> list[Table]:
    made = {edition: make(part) for edition, part in by_edition(summary).items()}
    if len(made) == 1:
        return list(made.values())
    return [replace(table, title=f"{table.title}, {edition} edition") for edition, table in made.items()]


def overall_table(summary: Summary) -> Table:
    """A row a codec: geometric mean rates over one edition, BD-rates, distance to the bound, speeds."""
    kinds: list[ResponseKind] = ["logits"] * any(row.faithful_scenarios for row in summary.overall)
    kinds += ["values"] * any(row.low_error_scenarios for row in summary.overall)
    joined = any(row.joint_bound_gap is not None for row in summary.overall)
    rows = [_overall_row(row, summary, kinds, joined=joined) for row in summary.overall]
    return Table("Overall", _overall_columns(summary, kinds, joined=joined), rows, _overall_notes(summary, kinds))


def _overall_columns(summary: Summary, kinds: Sequence[ResponseKind], *, joined: bool) -> list[Column]:
    reference = text.shown(summary.reference) if summary.reference else "no reference"
    percent = summary.ranking_percent
    return [
        Column("rank"),
        CODEC_COLUMN,
        KNOWLEDGE_COLUMN,
        CLASS_RANK_COLUMN,
        STATE_COLUMN,
        Column(f"compression at {percent} %", f"geometric mean over scenarios of 32 / EBPFP@{percent}"),
        *(Column(f"EBPFP@{p}", f"{EBPFP_HINT.format(p)}; geometric mean over scenarios") for p in RETAINED_PERCENTS),
        *(
            replace(c, hint=f"{c.hint}; geometric mean over the scenarios that have one")
            for c in map(FAITHFUL_COLUMNS.__getitem__, kinds)
        ),
        Column("BD-rate, score", f"mean rate difference to {reference} at equal score; geometric mean over scenarios"),
        Column("BD-rate, MSE", f"mean rate difference to {reference} at equal MSE; geometric mean over scenarios"),
        Column("bits above bound", GAP_HINT + "; mean over scenarios"),
        *([Column(JOINT_GAP, JOINT_GAP_HINT + "; mean over the scenarios that have it")] if joined else []),
        Column("encode MB/s", SPEED_HINT + "; geometric mean over scenarios"),
        Column("decode MB/s", SPEED_HINT + "; geometric mean over scenarios"),
    ]


def _overall_row(row: OverallRow, summary: Summary, kinds: Sequence[ResponseKind], *, joined: bool) -> list[Cell]:
    counted = tracks(summary.scenarios)
    ran = [(part, codec) for part in counted for codec in part.codecs if codec.codec == row.codec]
    parts = [codec for _, codec in ran]
    percent = str(summary.ranking_percent)
    compression = row.compression[percent]
    first = is_first(row.rank, row.ebpfp[percent].value)
    hint = f"no figure for {', '.join(map(text.shown, row.missing))}" if row.missing else ""
    sign = "≥ " if row.at_least[percent] and compression.value is not None else ""
    cells = [
        rank_cell(row.rank),
        Cell(text.shown(row.codec) + _part_mark(part for part, _ in ran), row.codec, first),
        Cell(row.trained_on or text.NOTHING),
        rank_cell(row.class_rank),
        state_cell(row.state_bytes),
        Cell(sign + text.times(compression), compression.value, first, hint),
        *(_rate(row.ebpfp[p], at_most=row.at_least[p], hint=hint) for p in map(str, RETAINED_PERCENTS)),
    ]
    for kind in kinds:
        rates = [rate for codec in parts if (rate := rate_by_responses(codec, kind)) is not None]
        mean = row.faithful_ebpfp if kind == "logits" else row.low_error_ebpfp
        cells.append(_rate(mean, at_most=any(rate.bound == "at most" for rate in rates)))
    if row.codec == summary.reference:
        cells += [Cell("reference", 0.0)] * 2
    else:
        cells.append(_overall_bd_rate(row.bd_rate_score, [codec.bd_rate_score for codec in parts], len(counted)))
        cells.append(_overall_bd_rate(row.bd_rate_mse, [codec.bd_rate_mse for codec in parts], len(counted)))
    cells.append(_over_some(text.estimate(row.bound_gap), row.bound_gap.value, row.bound_scenarios, len(counted)))
    if joined:
        shared = sum(part.bound is not None and part.bound.joint is not None for part in counted)
        shown = text.number(row.joint_bound_gap)
        cells.append(_over_some(shown, row.joint_bound_gap, row.joint_bound_scenarios, shared))
    return [*cells, estimate_cell(row.encode_mb_per_s), estimate_cell(row.decode_mb_per_s)]


def _overall_notes(summary: Summary, kinds: Sequence[ResponseKind]) -> list[str]:
    counted = tracks(summary.scenarios)
    notes = [
        *unverified_notes(row.codec for row in summary.overall if not row.verified_samples),
        f"Ranked by the compression at {summary.ranking_percent} % of the score; bold: the first. Brackets hold "
        "intervals; (n of m) counts the scenarios that have a figure.",
    ]
    notes += _parts_note(counted)
    for kind in kinds:
        due = [part for part in counted if any(rate_by_responses(codec, kind) is not None for codec in part.codecs)]
        if len(due) < len(counted):
            name = FAITHFUL_COLUMNS[kind].name
            notes.append(f"{name}: over the scenarios whose responses are {kind}, {len(due)} of {len(counted)}.")
    bd_rates = [
        record for part in counted for codec in part.codecs for record in (codec.bd_rate_score, codec.bd_rate_mse)
    ]
    if any(map(text.has_low_overlap, bd_rates)):
        share = f"{100 * text.LOW_OVERLAP:.0f} %"
        notes.append(f"† On one scenario at least the two curves share less than {share} of their quality range.")
    incomplete = [row for row in summary.overall if row.missing]
    if incomplete:
        names = "; ".join(f"{text.shown(r.codec)} lacks {', '.join(map(text.shown, r.missing))}" for r in incomplete)
        notes.append(f"A mean of rates or speeds needs a figure for each of its scenarios: {names}.")
    return notes


def _rate(mean: Estimate, *, at_most: bool, hint: str = "") -> Cell:
    """A mean of rates, an upper bound where one of them is."""
    sign = "≤ " if at_most and mean.value is not None else ""
    return Cell(sign + text.estimate(mean), mean.value, hint=hint)


def _over_some(shown: str, value: float | None, scenarios: int, count: int) -> Cell:
    """A mean over so many scenarios, which says so where they are not all that count."""
    some = scenarios < count and value is not None
    return Cell(shown + (f" ({scenarios} of {count})" if some else ""), value)


def _overall_bd_rate(mean: OverallBDRate, records: Iterable[BDRateRecord], count: int) -> Cell:
    """A mean of BD-rates, marked where the curves of one share little of the quality range."""
    mark = " †" if any(map(text.has_low_overlap, records)) else ""
    return _over_some(text.rate_change(mean.percent) + mark, mean.percent.value, mean.scenarios, count)


def matrix_table(summary: Summary) -> Table:
    """A row a codec, a column a scenario: the ranking EBPFP@p, the best of each column bold."""
    scenarios = summary.scenarios
    percents = sorted({s.ranking_percent for s in scenarios})
    columns = [CODEC_COLUMN, *(_matrix_column(s, several=len(percents) > 1) for s in scenarios)]
    columns.append(Column("wins", "scenarios on which the codec has the lowest rate, alone or with others"))
    rows = []
    for row in summary.overall:
        cells = [_matrix_cell(row.codec, scenario) for scenario in scenarios]
        wins = sum(cell.strong for cell in cells)
        rows.append([name_cell(row.codec), *cells, Cell(str(wins), wins)])
    ranked = "EBPFP, @p above" if len(percents) > 1 else f"EBPFP@{percents[0]}"
    best = "the first of its scenario, none where no codec keeps that share of the score"
    return Table(
        "Who wins where", columns, rows, [f"{ranked}: lower is better. Bold: {best}.", *_parts_note(scenarios)]
    )


def _matrix_column(scenario: ScenarioSummary, *, several: bool) -> Column:
    level = f" @{scenario.ranking_percent}" if several else ""
    hint = f"EBPFP@{scenario.ranking_percent}: {text.shown(scenario.title)}"
    return Column(text.shown(scenario.scenario) + level + _part_mark([scenario]), hint)


def _matrix_cell(name: str, scenario: ScenarioSummary) -> Cell:
    codec = next((codec for codec in scenario.codecs if codec.codec == name), None)
    kept = None if codec is None else codec.retained_at(scenario.ranking_percent)
    if codec is None or kept is None or kept.ebpfp.value is None:
        return Cell(text.NOTHING)
    rate = kept.ebpfp.value
    return Cell(text.bounded(rate, kept.bound), rate, is_first(codec.rank, rate))


PART = "*"
"""Marks what is of part of the samples."""


def _part_mark(scenarios: Iterable[ScenarioSummary]) -> str:
    return f" {PART}" if any(part.samples != part.test_samples for part in scenarios) else ""


def _parts_note(scenarios: Iterable[ScenarioSummary]) -> list[str]:
    """A line that names the scenarios of whose samples only a part was run; none where there are none."""
    found = [part for part in scenarios if _part_mark([part])]
    named = ", ".join(f"{text.shown(part.scenario)} {part.samples} of {part.test_samples}" for part in found)
    return [f"{PART} Of part of the samples: {named}."] * bool(found)
