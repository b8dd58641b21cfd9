"""The tables of single scenarios: the headline, and the rate points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.report import text
from harness.report.ranks import is_first
from harness.report.render.cells import (
    CLASS_RANK_COLUMN,
    CODEC_COLUMN,
    DIVERGENCE_COLUMNS,
    EBPFP_HINT,
    FAITHFUL_COLUMNS,
    GAP_HINT,
    JOINT_GAP,
    JOINT_GAP_HINT,
    KNOWLEDGE_COLUMN,
    POINT_COLUMN,
    ROLE_NAMES,
    SCENARIO_COLUMN,
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
    verified_cell,
)
from harness.report.summary import (
    RANKING_SAMPLES,
    RETAINED_PERCENTS,
    CodecSummary,
    FaithfulRate,
    LowErrorRate,
    RatePoint,
    ScenarioSummary,
    Summary,
)

if TYPE_CHECKING:
    from lamofcbench.models.base import ResponseKind


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
        *(Column(f"EBPFP@{percent}", EBPFP_HINT.format(percent)) for percent in RETAINED_PERCENTS),
        *map(FAITHFUL_COLUMNS.__getitem__, kinds),
        Column("BD-rate, score", f"mean rate difference to {reference} at equal score"),
        Column("BD-rate, MSE", f"mean rate difference to {reference} at equal MSE"),
        Column("bits above bound", GAP_HINT),
        *([Column(JOINT_GAP, JOINT_GAP_HINT)] if joined else []),
        Column("encode MB/s", SPEED_HINT),
        Column("decode MB/s", SPEED_HINT),
    ]
    rows, reasons = [], []
    for part in parts:
        for codec in part.codecs:
            if codec.role != "codec":
                continue
            front = [] if scenario else [name_cell(part.scenario)]
            figures = _headline(codec, part, summary.reference, kinds, joined=joined)
            first = is_first(codec.rank, codec.retained_at(part.ranking_percent).ebpfp.value)
            rows.append([*front, name_cell(codec.codec, strong=first), *figures])
            bd_rates = (("score", codec.bd_rate_score), ("MSE", codec.bd_rate_mse))
            if summary.reference:
                reasons += [(kind, record.reason, codec.codec) for kind, record in bd_rates if record.reason]
    codecs = [codec for part in parts for codec in part.codecs]
    unverified = unverified_notes(c.codec for c in codecs if c.role == "codec" and not c.verified_samples)
    return Table("Headline", columns, rows, [*unverified, *_headline_notes(summary), *_grouped(reasons)])


def _response_kinds(scenarios: Iterable[ScenarioSummary]) -> list[ResponseKind]:
    """The kinds of responses that any codec of the scenarios was compared by, logits first."""
    codecs = [codec for part in scenarios for codec in part.codecs]
    return [kind for kind in FAITHFUL_COLUMNS if any(rate_by_responses(codec, kind) for codec in codecs)]


def rate_by_responses(codec: CodecSummary, kind: ResponseKind) -> FaithfulRate | LowErrorRate | None:
    """EBPFP@nats or @error of a codec; None where its responses are of the other kind, or not shown."""
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
            is_first(codec.rank, retained.ebpfp.value) and retained.percent == scenario.ranking_percent,
        )
        for retained in codec.retained
    ]
    for rate in (rate_by_responses(codec, kind) for kind in kinds):
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
        *map(DIVERGENCE_COLUMNS.__getitem__, kinds),
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
