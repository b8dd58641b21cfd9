"""The tables of a report, once, for markdown, the page and the terminal alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.report import text
from harness.report.deployment import REQUIRED_RETENTION
from harness.report.summary import RANKING_SAMPLES, CodecSummary, RatePoint, ScenarioSummary, Summary

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


def _name(value: str, strong: bool = False) -> Cell:
    return Cell(text.shown(value), value, strong)


def _number(value: float | None, digits: int = 3) -> Cell:
    return Cell(text.number(value, digits), value)


_CODEC = Column("codec", numeric=False)
_SCENARIO = Column("scenario", numeric=False)
_POINT = Column("rate point", numeric=False)


def overall_table(summary: Summary) -> Table:
    """A row a codec: the geometric mean compression over all scenarios at 95 % and 99 % of the score."""
    percents = sorted({retained.percent for part in summary.scenarios for c in part.codecs for retained in c.retained})
    columns = [Column("rank"), _CODEC]
    columns += [Column(f"compression at {p} %", f"geometric mean over scenarios of 32 / EBPFP@{p}") for p in percents]
    rows = []
    for rank, row in enumerate(summary.overall, start=1):
        ranked = row.compression[str(summary.ranking_percent)].value is not None
        cells = [Cell(str(rank), rank) if ranked else Cell(text.NOTHING), _name(row.codec, strong=rank == 1 and ranked)]
        for percent in percents:
            figure = row.compression[str(percent)]
            sign = "≥ " if row.at_least[str(percent)] and figure.value is not None else ""
            hint = f"no figure for {', '.join(map(text.shown, row.missing))}" if row.missing else ""
            unit = f" {text.TIMES}" if figure.value is not None else ""
            strong = percent == summary.ranking_percent
            cells.append(Cell(f"{sign}{text.estimate(figure)}{unit}", figure.value, strong, hint))
        rows.append(cells)
    notes = [f"Ranked by the compression at {summary.ranking_percent} % of the score."]
    incomplete = [row for row in summary.overall if row.missing]
    if incomplete:
        names = "; ".join(f"{text.shown(r.codec)} lacks {', '.join(map(text.shown, r.missing))}" for r in incomplete)
        notes.append(f"Only codecs with a figure for every scenario get a mean: {names}.")
    return Table("Overall", columns, rows, notes)


def headline_table(summary: Summary, scenarios: Sequence[ScenarioSummary] | None = None) -> Table:
    """A row a codec and scenario: EBPFP@95 and @99, BD-rates, speeds."""
    reference = text.shown(summary.reference) if summary.reference else "no reference"
    columns = [
        _SCENARIO,
        _CODEC,
        Column("EBPFP@95", "lowest rate that keeps 95 % of the score; uncoded is 32"),
        Column("EBPFP@99", "lowest rate that keeps 99 % of the score; uncoded is 32"),
        Column("BD-rate, score", f"mean rate difference to {reference} at equal score"),
        Column("BD-rate, MSE", f"mean rate difference to {reference} at equal MSE"),
        Column("encode MB/s", "10^6 raw bytes a second, median over samples and rate points"),
        Column("decode MB/s", "10^6 raw bytes a second, median over samples and rate points"),
    ]
    rows, reasons = [], []
    for scenario in summary.scenarios if scenarios is None else scenarios:
        best = next((codec.codec for codec in scenario.codecs if codec.role == "codec"), None)
        for codec in scenario.codecs:
            if codec.role != "codec":
                continue
            names = [_name(scenario.scenario), _name(codec.codec, strong=codec.codec == best)]
            rows.append([*names, *_headline(codec, scenario, summary.reference)])
            bd_rates = (("score", codec.bd_rate_score), ("MSE", codec.bd_rate_mse))
            if summary.reference:
                reasons += [(kind, record.reason, codec.codec) for kind, record in bd_rates if record.reason]
    return Table("Headline", columns, rows, [*_headline_notes(summary), *_grouped(reasons)])


def _headline(codec: CodecSummary, scenario: ScenarioSummary, reference: str | None) -> list[Cell]:
    cells = [
        Cell(text.retained_rate(retained), retained.ebpfp.value, retained.percent == scenario.ranking_percent)
        for retained in codec.retained
    ]
    for record in (codec.bd_rate_score, codec.bd_rate_mse):
        shown = "reference" if codec.codec == reference and record.percent is not None else text.bd_rate(record)
        cells.append(Cell(shown, record.percent, hint=record.reason))
    return [*cells, _number(codec.encode_mb_per_s), _number(codec.decode_mb_per_s)]


def _headline_notes(summary: Summary) -> list[str]:
    notes = [
        f"EBPFP: lower is better; bold ranks, which is @95 with fewer than {RANKING_SAMPLES} samples and @99 from "
        "there on. ≤: even the lowest rate point keeps that share of the score. never: no rate point does, which "
        "counts as 32."
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


def points_table(scenario: ScenarioSummary, *, named: bool = False) -> Table:
    """A row a result, codec by codec in the order of rising rate."""
    arrow = "↑" if scenario.direction == "up" else "↓"
    columns = [
        *([_SCENARIO] if named else []),
        _CODEC,
        _POINT,
        Column("EBPFP", "equivalent bits per feature point: 32 * coded bits / raw bits"),
        Column("BPFP", "bits per feature point"),
        Column("bytes a sample", "complete bitstreams"),
        Column(f"{text.metric_name(scenario.metric)} {arrow}", "score with decoded features"),
        Column("retention %", "(score - floor) / (anchor - floor)"),
        Column("MSE", "over all elements"),
        Column("NMSE", "each tensor scaled so that the error of the calibration mean is 1"),
        Column("encode MB/s", "10^6 raw bytes a second, median over samples"),
        Column("decode MB/s", "10^6 raw bytes a second, median over samples"),
    ]
    rows = []
    for codec in scenario.codecs:
        for point in codec.points:
            front = [_name(scenario.scenario)] if named else []
            rows.append([*front, Cell(text.shown(codec.codec) + ROLE_NAMES[codec.role], codec.codec), *_point(point)])
    return Table("Rate points", columns, rows)


def _point(point: RatePoint) -> list[Cell]:
    return [
        _name(point.label),
        _number(point.ebpfp),
        _number(point.bpfp),
        Cell(text.size(point.bytes_per_sample), point.bytes_per_sample),
        Cell(text.estimate(point.score), point.score.value),
        Cell(text.percent(point.retention), point.retention.value),
        _number(point.mse),
        _number(point.nmse),
        _number(point.encode_mb_per_s),
        _number(point.decode_mb_per_s),
    ]


def deployment_table(scenario: ScenarioSummary) -> Table:
    """A row a result: seconds from features to features over each link, and against uncoded transfer."""
    links = [answer.mbit_per_s for answer in scenario.links]
    columns = [_CODEC, _POINT, Column("retention %"), Column("encode"), Column("decode")]
    columns += [Column(f"{link:g} Mbit/s", "encode + transfer + decode of one sample") for link in links]
    uncoded = [Cell("uncoded", "", strong=all(answer.codec is None for answer in scenario.links)), Cell("")]
    uncoded += [Cell("100.0", 1.0), Cell(text.NOTHING), Cell(text.NOTHING)]
    uncoded += [Cell(text.duration(a.uncoded_seconds), a.uncoded_seconds, a.codec is None) for a in scenario.links]
    rows = [uncoded]
    for codec in scenario.codecs:
        for point in codec.points if codec.role == "codec" else []:
            cells = [_name(codec.codec), _name(point.label)]
            retention = point.retention.value
            cells.append(Cell(text.NOTHING if retention is None else f"{100 * retention:.1f}", retention))
            cells += [Cell(text.duration(s), s) for s in (point.encode_seconds, point.decode_seconds)]
            if not point.links:
                cells += [Cell(text.NOTHING) for _ in links]
            for time, answer in zip(point.links, scenario.links, strict=False):
                best = (answer.codec, answer.label) == (codec.codec, point.label)
                label = f"{text.duration(time.total_seconds)} ({text.number(time.speedup)} {text.TIMES})"
                cells.append(Cell(label, time.total_seconds, best))
            rows.append(cells)
    share = f"{100 * REQUIRED_RETENTION:.0f} %"
    notes = [
        "Time of one sample over the link; in brackets how many times faster than uncoded. Bold: the fastest that "
        f"keeps {share} of the score. Coding times are medians on the machine that ran the benchmark."
    ]
    return Table("Encode + transfer + decode", columns, rows, notes)


def deployment_answers(scenario: ScenarioSummary) -> list[str]:
    """One sentence for each link."""
    sentences = []
    for answer in scenario.links:
        link = f"At {answer.mbit_per_s:g} Mbit/s"
        if answer.codec is None:
            sentences.append(f"{link} send features uncoded ({text.duration(answer.uncoded_seconds)} a sample).")
        else:
            codec = " ".join(filter(None, (text.shown(answer.codec), text.shown(answer.label))))
            times = f"{text.duration(answer.total_seconds)} a sample instead of {text.duration(answer.uncoded_seconds)}"
            sentences.append(f"{link} use {codec}: {times}, {text.number(answer.speedup)} times faster.")
    return sentences


def tensor_table(scenario: ScenarioSummary) -> Table:
    """A row a tensor and result: error and payload."""
    columns = [
        _CODEC,
        _POINT,
        Column("tensor", numeric=False),
        Column("elements"),
        Column("MSE"),
        Column("NMSE", "MSE over the MSE of the calibration mean"),
        Column("payload bytes", "this tensor's section; nothing where the codec joins tensors"),
        Column("payload BPFP", "the published figure: payload bits per feature point"),
    ]
    rows = [
        [
            Cell(text.shown(codec.codec) + ROLE_NAMES[codec.role], codec.codec),
            _name(point.label),
            _name(tensor.name),
            Cell(f"{tensor.elements:,}", tensor.elements),
            _number(tensor.mse),
            _number(tensor.nmse),
            Cell(text.NOTHING if tensor.payload_bytes is None else f"{tensor.payload_bytes:,}", tensor.payload_bytes),
            _number(tensor.payload_bpfp),
        ]
        for codec in scenario.codecs
        for point in codec.points
        for tensor in point.tensors
    ]
    return Table("Tensors", columns, rows)


def codec_table(scenario: ScenarioSummary) -> Table:
    """A row a codec: what it learned and from what; learned parameters are not counted as rate."""
    columns = [_CODEC, Column("lossless", numeric=False), Column("trained on", numeric=False), Column("learned bytes")]
    rows = [
        [
            Cell(text.shown(codec.codec) + ROLE_NAMES[codec.role], codec.codec),
            Cell("yes" if codec.lossless else "no"),
            Cell(codec.trained_on),
            Cell(f"{codec.state_bytes:,}", codec.state_bytes),
        ]
        for codec in scenario.codecs
    ]
    return Table("Codecs", columns, rows, ["Learned parameters are known to both sides and not counted as rate."])


def protocol_facts(scenario: ScenarioSummary) -> list[tuple[str, str]]:
    """What one needs to repeat the measurement, as name and value."""
    facts = {
        "scenario": f"{scenario.scenario}@{scenario.version}",
        "samples": f"{scenario.samples} of {scenario.test_samples} in the test split",
        "raw bytes a sample": text.size(scenario.raw_bytes_per_sample),
        "feature points a sample": f"{scenario.elements_per_sample:,.0f}",
        "scenario digest": scenario.scenario_digest,
        "data revision": scenario.data_revision,
        "protocol version": str(scenario.protocol_version),
        "batch size": str(scenario.batch_size),
        "dtype of the tail": scenario.dtype,
        "device type": scenario.device_type,
        "seed": str(scenario.seed),
        **{f"run: {key}": value for key, value in scenario.run.items()},
    }
    return [(text.shown(key), text.shown(value, text.MAX_LINE)) for key, value in facts.items()]
