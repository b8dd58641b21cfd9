"""What the figures show, apart from how they are drawn: `plots` makes PNG files of panels, `svg` the page's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from harness.report import text
from harness.report.deployment import REQUIRED_RETENTION
from harness.report.render.axes import Axis, linear_axis, log_axis, rate_axis
from harness.report.summary import (
    FAITHFUL_ERROR,
    FAITHFUL_NATS,
    BoundRecord,
    CodecSummary,
    Estimate,
    JointBoundRecord,
    RatePoint,
    ScenarioSummary,
    Summary,
)
from harness.statistics.curves import UNCODED_EBPFP, keeps


@dataclass(frozen=True)
class Mark:
    """A point with its interval along y, and what it is.

    Attributes:
        text: what a reader who points at it is told.
        faint: it matters less.
        hollow: it fails a condition that the caption states.
    """

    x: float
    y: float
    text: str
    low: float | None = None
    high: float | None = None
    faint: bool = False
    hollow: bool = False


@dataclass(frozen=True)
class Series:
    """The marks of a codec; joined by a line where they are a curve."""

    codec: str
    marks: Sequence[Mark]
    joined: bool = True


@dataclass(frozen=True)
class Level:
    """A horizontal line."""

    y: float
    label: str
    dotted: bool
    above: bool


@dataclass(frozen=True)
class Reference:
    """A vertical line at a rate that is no codec's."""

    x: float
    label: str


@dataclass(frozen=True)
class Limit:
    """A curve that is no codec's.

    Attributes:
        shaded: what lies beyond is.
    """

    xs: Sequence[float]
    ys: Sequence[float]
    label: str
    shaded: bool


@dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
        references: rates to compare with.
        named: each mark bears its codec's name, where there is room.
        bytes_per_rate: bytes a sample for each unit of the x axis, for a second scale; None where x is no rate.
        empty: what to say instead, where there is nothing to show.
    """

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series] = field(default=())
    levels: Sequence[Level] = field(default=())
    limits: Sequence[Limit] = field(default=())
    references: Sequence[Reference] = field(default=())
    named: bool = False
    bytes_per_rate: float | None = None
    empty: str = ""


def score_panel(scenario: ScenarioSummary) -> Panel:
    """Score over rate with intervals, between the lines of anchor and floor."""
    series = [
        Series(
            codec.codec,
            [
                Mark(p.ebpfp, p.score.value, _described(codec, p), p.score.low, p.score.high)
                for p in codec.points
                if p.ebpfp is not None and p.score.value is not None
            ],
        )
        for codec in _codecs(scenario)
    ]
    values = [end for part in series for m in part.marks for end in (m.y, m.low, m.high) if end is not None]
    subject = (scenario.metric, scenario.direction, scenario.anchor.value, scenario.floor.value)
    frame = score_frame(*subject, _rates(scenario), values, _bytes_per_rate(scenario))
    return replace(frame, series=series, references=_references(scenario))


def score_frame(
    metric: str,
    direction: str,
    anchor: float | None,
    floor: float | None,
    rates: Sequence[float],
    scores: Sequence[float],
    bytes_per_rate: float | None,
) -> Panel:
    """The panel of scores over rates without its curves, large enough for them.

    Args:
        metric: the name of the score.
        direction: ``up`` where a higher score is better.
        anchor: the score of uncoded features; None where it is not known.
        floor: that of the calibration mean.
        rates: EBPFP of all that is to be drawn.
        scores: of all that is to be drawn, ends of intervals too.
        bytes_per_rate: see `Panel`.
    """
    up = direction == "up"
    ends = ((anchor, "uncoded", False), (floor, "calibration mean", True))
    levels = [Level(figure, label, dotted, up) for figure, label, dotted in ends if figure is not None]
    arrow = "higher is better" if up else "lower is better"
    axis = linear_axis(f"{text.metric_name(metric)} ({arrow})", [*scores, *(level.y for level in levels)])
    return Panel("Score over rate", rate_axis(rates), axis, (), levels, bytes_per_rate=bytes_per_rate)


def fidelity_panel(scenario: ScenarioSummary) -> Panel | None:
    """How far responses are from those to uncoded features, over rate; None where no model shows any."""
    codecs = [(codec, _responses(codec)) for codec in _codecs(scenario)]
    values = [figure.value for _, found in codecs for _, _, figure in found if figure.value]
    if not values:
        return None
    of_logits = any(point.divergence_nats.value is not None for codec in _codecs(scenario) for point in codec.points)
    name, faithful = ("KL, nats", FAITHFUL_NATS) if of_logits else ("response error", FAITHFUL_ERROR)
    series = [
        Series(
            codec.codec,
            [
                Mark(rate, figure.value, _described(codec, point), figure.low or None, figure.high)
                for point, rate, figure in found
                if figure.value  # responses that are the same to the last bit have no place on a logarithmic axis
            ],
        )
        for codec, found in codecs
    ]
    levels = [Level(faithful, f"faithful: {faithful:g}", True, True)]
    y = log_axis(f"{name} (lower is better)", [*values, faithful])
    x = rate_axis(_rates(scenario))
    return Panel(
        "Fidelity over rate", x, y, series, levels, references=_references(scenario),
        bytes_per_rate=_bytes_per_rate(scenario),
    )  # fmt: skip


def _responses(codec: CodecSummary) -> list[tuple[RatePoint, float, Estimate]]:
    """The points that have a rate and a distance of responses, with both."""
    found = []
    for point in codec.points:
        figure = point.divergence_nats if point.divergence_nats.value is not None else point.response_error
        if point.ebpfp is not None and figure.value is not None:
            found.append((point, point.ebpfp, figure))
    return found


def _references(scenario: ScenarioSummary) -> list[Reference]:
    """The prompt itself, where the input is text."""
    rate = _prompt_rate(scenario)
    if rate is None or scenario.prompt_bytes_per_sample is None:
        return []
    return [Reference(rate, f"the prompt, {text.size(scenario.prompt_bytes_per_sample)} B")]


def _prompt_rate(scenario: ScenarioSummary) -> float | None:
    if scenario.prompt_bytes_per_sample is None or not scenario.raw_bytes_per_sample:
        return None
    return UNCODED_EBPFP * scenario.prompt_bytes_per_sample / scenario.raw_bytes_per_sample


def error_panel(scenario: ScenarioSummary, measure: str = "nmse") -> Panel:
    """Error over rate and the Gaussian bounds; points without error cannot stand on a log axis.

    Args:
        scenario: what to show.
        measure: ``nmse`` or ``mse``.
    """
    name = measure.upper()
    series = [
        Series(codec.codec, [Mark(rate, error, _described(codec, p)) for p, rate, error in _errors(codec, measure)])
        for codec in _codecs(scenario)
    ]
    values = [mark.y for part in series for mark in part.marks]
    x = rate_axis(_rates(scenario))
    if not values:
        return Panel(f"{name} over rate", x, log_axis(name, [0.1, 1.0]), empty="no lossy results")
    levels = [Level(1.0, "calibration mean", True, True)] if measure == "nmse" else []
    limits = _limits(scenario.bound, measure, x.low, min(values))
    values += [error for limit in limits for error in limit.ys]
    y = log_axis(f"{name} (lower is better)", [*values, *(level.y for level in levels)])
    return Panel(f"{name} over rate", x, y, series, levels, limits, bytes_per_rate=_bytes_per_rate(scenario))


def _limits(bound: BoundRecord | None, measure: str, lowest_rate: float, lowest_error: float) -> list[Limit]:
    """The bound of tensors on their own, and that of joined ones where there is one; the last one is shaded."""
    if bound is None:
        return []
    records: list[tuple[BoundRecord | JointBoundRecord, str]] = [(bound, "Gaussian bound")]
    if bound.joint is not None:
        records = [(bound, "Gaussian bound, each tensor alone"), (bound.joint, "Gaussian bound, tensors joined")]
    limits = []
    for record, label in records:
        pairs = zip(getattr(record, f"{measure}_ebpfp"), getattr(record, measure), strict=True)
        seen = [(rate, error) for rate, error in pairs if rate >= lowest_rate and error >= lowest_error]
        if seen:
            limits.append(Limit([r for r, _ in seen], [e for _, e in seen], label, record is records[-1][0]))
    return limits


def speed_panel(scenario: ScenarioSummary) -> Panel:
    """Decode speed over rate: solid on the front of rate, score and speed; hollow below 95 % of the score."""
    series = [
        Series(
            codec.codec,
            [
                Mark(p.ebpfp, p.decode_mb_per_s, _described(codec, p), faint=not p.on_front, hollow=not _keeps(p))
                for p in codec.points
                if p.ebpfp is not None and p.decode_mb_per_s is not None
            ],
            joined=False,
        )
        for codec in _codecs(scenario)
    ]
    speeds = [mark.y for part in series for mark in part.marks]
    y = log_axis("decode MB/s (higher is better)", speeds or [1.0, 10.0])
    empty = "" if speeds else "no timings"
    return Panel("Decode speed over rate", rate_axis(_rates(scenario)), y, series, empty=empty)


def overall_panel(summary: Summary, stage: str) -> Panel:
    """Compression at the ranking percent against speed, a mark a codec; faint where another beats it in decoding.

    Args:
        summary: what to show.
        stage: ``encode`` or ``decode``.
    """
    percent = str(summary.ranking_percent)
    series = []
    for row in summary.overall:
        compression: Estimate = row.compression[percent]
        speed: Estimate = getattr(row, f"{stage}_mb_per_s")
        if compression.value and speed.value:
            told = f"{text.times(compression)}, {stage}s {text.estimate(speed)} MB/s"
            mark = Mark(
                compression.value,
                speed.value,
                f"{text.shown(row.codec)}: {told}",
                faint=stage == "decode" and not row.on_front,
            )
            series.append(Series(row.codec, [mark], joined=False))
    marks = [mark for part in series for mark in part.marks]
    x = log_axis(f"compression at {percent} % of the score (higher is better)", [m.x for m in marks] or [1.0, 10.0])
    y = log_axis(f"{stage} MB/s (higher is better)", [m.y for m in marks] or [1.0, 10.0])
    empty = "" if marks else "no codec has figures for every scenario"
    return Panel(f"Compression and {stage} speed", x, y, series, named=True, empty=empty)


def _codecs(scenario: ScenarioSummary) -> list[CodecSummary]:
    return [codec for codec in scenario.codecs if codec.role == "codec"]


def _rates(scenario: ScenarioSummary) -> list[float]:
    """EBPFP of all points of all codecs, and of the prompt where the input is text."""
    rates = [p.ebpfp for codec in _codecs(scenario) for p in codec.points if p.ebpfp is not None]
    prompt = _prompt_rate(scenario)
    return rates if prompt is None else [*rates, prompt]


def _errors(codec: CodecSummary, measure: str) -> list[tuple[RatePoint, float, float]]:
    """The points that have a rate and an error, with both."""
    return [(p, p.ebpfp, getattr(p, measure)) for p in codec.points if p.ebpfp is not None and getattr(p, measure)]


def _keeps(point: RatePoint) -> bool:
    return keeps(point.retention.value, REQUIRED_RETENTION)


def _bytes_per_rate(scenario: ScenarioSummary) -> float | None:
    return scenario.raw_bytes_per_sample / UNCODED_EBPFP or None


def _described(codec: CodecSummary, point: RatePoint) -> str:
    """A rate point in words."""
    parts = [f"EBPFP {text.number(point.ebpfp)}"]
    for name, figure, write in (("score", point.score, text.estimate), ("retention %", point.retention, text.percent)):
        parts += [f"{name} {write(figure)}"] if isinstance(figure, Estimate) and figure.value is not None else []
    parts += [f"NMSE {text.number(point.nmse)}"] if point.nmse is not None else []
    for gap, name in ((point.gap_nmse, "bound"), (point.joint_gap_nmse, "joint bound")):
        parts += [f"{text.number(gap)} bits above the {name}"] if gap is not None else []
    parts += [f"decodes {text.number(point.decode_mb_per_s)} MB/s"] if point.decode_mb_per_s is not None else []
    return f"{' '.join(filter(None, (text.shown(codec.codec), text.shown(point.label))))}: {', '.join(parts)}"
