"""What the figures show, apart from how they are drawn: `plots` makes PNG files of panels, `svg` the page's figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from harness.report import text
from harness.report.deployment import REQUIRED_RETENTION
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
from harness.statistics.curves import UNCODED_EBPFP

MARGIN_OCTAVES = 0.35
MIN_TICKS, MAX_TICKS = 4, 8


@dataclass(frozen=True)
class Axis:
    """An axis with its range and ticks, in data units.

    Attributes:
        ticks: positions with their labels.
    """

    label: str
    low: float
    high: float
    log: bool
    ticks: Sequence[tuple[float, str]]

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one; outside of that where it is beyond."""
        if self.log:
            return math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


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
    return point.retention.value is not None and point.retention.value >= REQUIRED_RETENTION


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


# ---------------------------------------------------------------------------------------------------------------- axes


def rate_axis(rates: Sequence[float]) -> Axis:
    """EBPFP in octaves down from 32, which is uncoded."""
    low = min([*rates, UNCODED_EBPFP / 2]) * 2**-MARGIN_OCTAVES
    high = max([*rates, UNCODED_EBPFP]) * 2**MARGIN_OCTAVES
    octaves = range(math.floor(math.log2(high)), math.ceil(math.log2(low)) - 1, -1)
    chosen = octaves[:: max(1, math.ceil(len(octaves) / MAX_TICKS))]
    ticks = [(2.0**octave, f"{2.0**octave:.3g}") for octave in chosen]
    return Axis("EBPFP (uncoded = 32)", low, high, True, ticks)


def log_axis(label: str, values: Sequence[float]) -> Axis:
    """Ticks at decades, and between them where there are few decades.

    Example:
        >>> [text for _, text in log_axis("", [0.9, 120]).ticks]
        ['1', '2', '5', '10', '20', '50', '100']
    """
    margin = max((max(values) / min(values)) ** 0.06, 1.1)
    low, high = min(values) / margin, max(values) * margin
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) >= MIN_TICKS:
            break
    kept = ticks[:: max(1, math.ceil(len(ticks) / MAX_TICKS))]
    return Axis(label, low, high, True, [(tick, _short(tick)) for tick in kept])


def linear_axis(label: str, values: Sequence[float]) -> Axis:
    """Ticks at multiples of 1, 2 or 5 times a power of ten.

    Example:
        >>> [text for _, text in linear_axis("", [0.0, 1.0]).ticks]
        ['0', '0.2', '0.4', '0.6', '0.8', '1']
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 6)
    first, last = math.ceil((low - 1e-9 * span) / step), math.floor((high + 1e-9 * span) / step)
    ticks = [(n * step, f"{n * step:.6g}") for n in range(first, last + 1)]
    return Axis(label, low - 0.08 * span, high + 0.08 * span, False, ticks)


def _short(value: float) -> str:
    if 1e-4 <= value < 1e5:
        return f"{value:g}" if value < 1000 else f"{value / 1000:g}k"
    return f"1e{round(math.log10(value))}" if math.log10(value).is_integer() else f"{value:.0e}"


def bytes_ticks(axis: Axis, bytes_per_rate: float) -> list[tuple[float, str]]:
    """Ticks of a second scale in bytes a sample, placed in the axis's own units."""
    low, high = axis.low * bytes_per_rate, axis.high * bytes_per_rate
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    sizes = [step * 10.0**decade for decade in decades for step in (1, 2, 5) if low <= step * 10.0**decade <= high]
    kept = sizes[:: max(1, math.ceil(len(sizes) / MAX_TICKS))]
    return [(size / bytes_per_rate, _short_bytes(size)) for size in kept]


def _short_bytes(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
