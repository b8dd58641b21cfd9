"""The tables of a report, once, for markdown, the page and the terminal alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.report import text
from harness.report.editions import by_edition, tracks
from harness.report.summary import (
    FAITHFUL_ERROR,
    FAITHFUL_NATS,
    GAP_NMSES,
    RANKING_SAMPLES,
    RETAINED_PERCENTS,
    CodecSummary,
    Estimate,
    FaithfulRate,
    LowErrorRate,
    OverallBDRate,
    OverallRow,
    RatePoint,
    ScenarioSummary,
    Summary,
    Transfer,
)
from harness.report.transfers import matrices
from harness.statistics.curves import geometric_mean

if TYPE_CHECKING:
    from lamofcbench.models.base import ResponseKind

ROLE_NAMES = {"codec": "", "anchor": " (anchor)", "floor": " (floor)"}


@dataclass(frozen=True)
class Cell:
    """What a cell shows, what it sorts by, and whether it stands out."""

    text: str
    sort: float | str | None = None
    strong: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Column:
    """A column's head."""

    name: str
    hint: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table with the notes that belong under it."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default=())


def name_cell(value: str, strong: bool = False) -> Cell:
    """A name, made safe to show."""
    return Cell(text.shown(value), value, strong)


def number_cell(value: float | None, digits: int = 3) -> Cell:
    """A figure, or a dash."""
    return Cell(text.number(value, digits), value)


def estimate_cell(value: Estimate) -> Cell:
    """A figure with its interval, or a dash."""
    return Cell(text.estimate(value), value.value)


def rank_cell(rank: int | None, *, strong: bool = False) -> Cell:
    """A place among codecs, or a dash."""
    return Cell(text.NOTHING if rank is None else str(rank), rank, strong)


def state_cell(state_bytes: int | None) -> Cell:
    """The size of what a codec has learned, or a dash where it is not known."""
    return Cell(text.NOTHING if state_bytes is None else text.megabytes(state_bytes), state_bytes)


def without(table: Table, *names: str) -> Table:
    """A table without the columns of these names."""
    kept = [position for position, column in enumerate(table.columns) if column.name not in names]
    rows = [[row[position] for position in kept] for row in table.rows]
    return replace(table, columns=[table.columns[position] for position in kept], rows=rows)


def verified_cell(samples: int) -> Cell:
    """How many samples were verified."""
    return Cell(str(samples) if samples else "no", samples)


def unverified_notes(codecs: Iterable[str]) -> list[str]:
    """A line that names the codecs whose bytes no other process decoded; none where there are none."""
    names = ", ".join(text.shown(name) for name in dict.fromkeys(codecs))
    return [
        f"Not verified, by decoding samples in another process from the saved codec and the bytes: {names}."
    ] * bool(names)


CODEC_COLUMN = Column("codec", numeric=False)
KNOWLEDGE_COLUMN = Column("trained on", "what the codec has learned from, beside what everybody knows", numeric=False)
STATE_COLUMN = Column("state", "learned parameters that both sides hold, in no rate; the largest of its points")
CLASS_RANK_COLUMN = Column("in class", "rank among the codecs that were trained on the same kind of data")
SCENARIO_COLUMN = Column("scenario", numeric=False)
POINT_COLUMN = Column("rate point", numeric=False)

_EBPFP_HINT = "lowest rate that keeps {} % of the score; uncoded is 32"
_FAITHFUL: dict[ResponseKind, Column] = {
    "logits": Column(
        f"EBPFP@{FAITHFUL_NATS:g} nats",
        f"lowest rate at which logits diverge from uncoded ones by at most {FAITHFUL_NATS:g} nats a position",
    ),
    "values": Column(
        f"EBPFP@{FAITHFUL_ERROR:g} error",
        f"lowest rate at which responses that are values lose at most {FAITHFUL_ERROR:g} of their energy about means",
    ),
}
_DIVERGENCE: dict[ResponseKind, Column] = {
    "logits": Column(
        "KL, nats",
        "Kullback-Leibler divergence of the responses from those to uncoded features, mean over positions",
    ),
    "values": Column(
        "response error",
        "squared error of the responses over the energy of those to uncoded features about their means",
    ),
}
_GAP_HINT = f"bits per feature point above the Gaussian bound of tensors one by one, at NMSE {GAP_NMSES[0]:g}"
_JOINT_GAP = "bits above joint bound"
_JOINT_GAP_HINT = (
    f"bits per feature point above the Gaussian bound at NMSE {GAP_NMSES[0]:g} of tensors that share rows, together"
)
_SPEED_HINT = "10^6 raw bytes a second, median over samples and rate points"


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
        *(Column(f"EBPFP@{p}", f"{_EBPFP_HINT.format(p)}; geometric mean over scenarios") for p in RETAINED_PERCENTS),
        *(replace(c, hint=f"{c.hint}; geometric mean over scenarios") for c in map(_FAITHFUL.__getitem__, kinds)),
        Column("BD-rate, score", f"mean rate difference to {reference} at equal score; geometric mean over scenarios"),
        Column("BD-rate, MSE", f"mean rate difference to {reference} at equal MSE; geometric mean over scenarios"),
        Column("bits above bound", _GAP_HINT + "; mean over scenarios"),
        *([Column(_JOINT_GAP, _JOINT_GAP_HINT + "; mean over the scenarios that have it")] if joined else []),
        Column("encode MB/s", _SPEED_HINT + "; geometric mean over scenarios"),
        Column("decode MB/s", _SPEED_HINT + "; geometric mean over scenarios"),
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


def headline_table(summary: Summary, scenario: ScenarioSummary | None = None) -> Table:
    """A row a codec of one scenario, or of each: EBPFP@p, BD-rates, distance to the bound, speeds."""
    reference = text.shown(summary.reference) if summary.reference else "no reference"
    parts = [scenario] if scenario else summary.scenarios
    kinds = _response_kinds(parts)
    joined = any(part.bound is not None and part.bound.joint is not None for part in parts)
    columns = [
        *([] if scenario else [SCENARIO_COLUMN]),
        CODEC_COLUMN,
        KNOWLEDGE_COLUMN,
        Column("rank", f"by EBPFP@95 with fewer than {RANKING_SAMPLES} samples, by EBPFP@99 from there on"),
        CLASS_RANK_COLUMN,
        STATE_COLUMN,
        *(Column(f"EBPFP@{percent}", _EBPFP_HINT.format(percent)) for percent in RETAINED_PERCENTS),
        *map(_FAITHFUL.__getitem__, kinds),
        Column("BD-rate, score", f"mean rate difference to {reference} at equal score"),
        Column("BD-rate, MSE", f"mean rate difference to {reference} at equal MSE"),
        Column("bits above bound", _GAP_HINT),
        *([Column(_JOINT_GAP, _JOINT_GAP_HINT)] if joined else []),
        Column("encode MB/s", _SPEED_HINT),
        Column("decode MB/s", _SPEED_HINT),
    ]
    rows, reasons = [], []
    for part in parts:
        best = next((codec.codec for codec in part.codecs if codec.role == "codec"), None)
        for codec in part.codecs:
            if codec.role != "codec":
                continue
            front = [] if scenario else [name_cell(part.scenario)]
            figures = _headline(codec, part, summary.reference, kinds, joined=joined)
            rows.append([*front, name_cell(codec.codec, strong=codec.codec == best), *figures])
            bd_rates = (("score", codec.bd_rate_score), ("MSE", codec.bd_rate_mse))
            if summary.reference:
                reasons += [(kind, record.reason, codec.codec) for kind, record in bd_rates if record.reason]
    codecs = [codec for part in parts for codec in part.codecs]
    unverified = unverified_notes(c.codec for c in codecs if c.role == "codec" and not c.verified_samples)
    return Table("Headline", columns, rows, [*unverified, *_headline_notes(summary), *_grouped(reasons)])


def _response_kinds(scenarios: Iterable[ScenarioSummary]) -> list[ResponseKind]:
    """The kinds of responses that any codec of the scenarios was compared by, logits first."""
    codecs = [codec for part in scenarios for codec in part.codecs]
    return [kind for kind in _FAITHFUL if any(_faithful(codec, kind) for codec in codecs)]


def _faithful(codec: CodecSummary, kind: ResponseKind) -> FaithfulRate | LowErrorRate | None:
    return codec.faithful if kind == "logits" else codec.low_error


def _headline(
    codec: CodecSummary,
    scenario: ScenarioSummary,
    reference: str | None,
    kinds: Sequence[ResponseKind],
    *,
    joined: bool,
) -> list[Cell]:
    cells = [
        Cell(codec.trained_on),
        rank_cell(codec.rank),
        rank_cell(codec.class_rank),
        state_cell(codec.state_bytes),
    ]
    cells += [
        Cell(
            text.reached_rate(retained),
            retained.ebpfp.value,
            codec.rank == 1 and retained.percent == scenario.ranking_percent,
        )
        for retained in codec.retained
    ]
    for rate in (_faithful(codec, kind) for kind in kinds):
        cells.append(Cell(text.NOTHING) if rate is None else Cell(text.reached_rate(rate), rate.ebpfp.value))
    for record in (codec.bd_rate_score, codec.bd_rate_mse):
        shown = "reference" if codec.codec == reference and record.percent is not None else text.bd_rate(record)
        cells.append(Cell(shown, record.percent, hint=record.reason))
    gap = next(iter(codec.bound_gaps), None)
    cells.append(Cell(text.NOTHING) if gap is None else Cell(text.estimate(gap.bits), gap.bits.value, hint=gap.reason))
    if joined:
        cells.append(Cell(text.NOTHING) if gap is None else estimate_cell(gap.joint_bits))
    return [*cells, *(estimate_cell(speed) for speed in (codec.encode_mb_per_s, codec.decode_mb_per_s))]


def _headline_notes(summary: Summary) -> list[str]:
    notes = [
        f"EBPFP: lower is better; @95 ranks with fewer than {RANKING_SAMPLES} samples and @99 from there on. Bold: the "
        "first. ≤: even the lowest rate point keeps that share of the score. never: no rate point does, which counts "
        "as 32."
    ]
    if summary.reference:
        bound = f"{100 * text.LOW_OVERLAP:.0f} %"
        notes.append(
            f"BD-rate: mean rate difference to {text.shown(summary.reference)} at equal quality; negative is better. "
            f"† the two curves share less than {bound} of their quality range."
        )
    else:
        notes.append("No BD-rates: name a reference codec by --reference.")
    return notes


def _grouped(reasons: Sequence[tuple[str, str, str]]) -> list[str]:
    """One line for each reason why a BD-rate is missing, naming the codecs."""
    codecs: dict[tuple[str, str], dict[str, None]] = {}
    for kind, reason, codec in reasons:
        codecs.setdefault((kind, reason), {})[text.shown(codec)] = None
    return [f"No BD-rate over {kind} for {', '.join(names)}: {why}." for (kind, why), names in codecs.items()]


def points_table(scenario: ScenarioSummary) -> Table:
    """A row a result, codec by codec in the order of rising rate."""
    arrow = "↑" if scenario.direction == "up" else "↓"
    kinds = _response_kinds([scenario])
    joined = scenario.bound is not None and scenario.bound.joint is not None
    columns = [
        CODEC_COLUMN,
        POINT_COLUMN,
        Column("EBPFP", "equivalent bits per feature point: 32 * coded bits / raw bits"),
        Column("BPFP", "bits per feature point"),
        Column("bytes a sample", "complete bitstreams"),
        Column(f"{text.metric_name(scenario.metric)} {arrow}", "score with decoded features"),
        Column("retention %", "(score - floor) / (anchor - floor)"),
        *map(_DIVERGENCE.__getitem__, kinds),
        Column("MSE", "over all elements"),
        Column("NMSE", "each tensor scaled so that the error of the calibration mean is 1"),
        Column("above bound", "BPFP above the Gaussian bound at the same NMSE; negative: below it"),
        *([Column("above joint bound", "the same, with tensors that share rows as one source")] if joined else []),
        Column("encode MB/s", "10^6 raw bytes a second, median over samples"),
        Column("decode MB/s", "10^6 raw bytes a second, median over samples"),
        Column(
            "front",
            "no other point is as good in rate, score and decode speed and better in one; in brackets: "
            "share of bootstrap draws",
            numeric=False,
        ),
        Column("verified", "samples that another process decoded to the same bits, from the saved codec and the bytes"),
    ]
    rows = []
    for codec in scenario.codecs:
        for point in codec.points:
            name = Cell(text.shown(codec.codec) + ROLE_NAMES[codec.role], codec.codec)
            rows.append([name, *_point(point, kinds, joined=joined)])
    return Table("Rate points", columns, rows)


def _point(point: RatePoint, kinds: Sequence[ResponseKind], *, joined: bool) -> list[Cell]:
    return [
        name_cell(point.label),
        number_cell(point.ebpfp),
        number_cell(point.bpfp),
        Cell(text.size(point.bytes_per_sample), point.bytes_per_sample),
        Cell(text.estimate(point.score), point.score.value),
        Cell(text.percent(point.retention), point.retention.value),
        *(estimate_cell(point.divergence_nats if kind == "logits" else point.response_error) for kind in kinds),
        number_cell(point.mse),
        number_cell(point.nmse),
        number_cell(point.gap_nmse),
        *([number_cell(point.joint_gap_nmse)] if joined else []),
        number_cell(point.encode_mb_per_s),
        number_cell(point.decode_mb_per_s),
        _front(point),
        verified_cell(point.verified_samples),
    ]


def _front(point: RatePoint) -> Cell:
    if not point.on_front:
        return Cell("", 0.0)
    share = "" if point.front_share is None else f" ({100 * point.front_share:.0f} %)"
    return Cell(f"✓{share}", point.front_share or 1.0)
