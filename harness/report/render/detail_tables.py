"""The tables behind the headline: deployment, fronts, tensors, what codecs learned, how the bound was made."""

from __future__ import annotations

from harness.metrics.base import METRICS
from harness.report import text
from harness.report.deployment import REQUIRED_RETENTION
from harness.report.fronts import SPEED_NOISE
from harness.report.points import spec_of_point
from harness.report.render.cells import (
    CODEC_COLUMN,
    KNOWLEDGE_COLUMN,
    POINT_COLUMN,
    ROLE_NAMES,
    Cell,
    Column,
    Table,
    name_cell,
    number_cell,
    verified_cell,
)
from harness.report.summary import CodecSummary, RatePoint, ScenarioSummary
from harness.statistics.curves import keeps
from lamofcbench.identity import JOINED

OTHER_PROTOCOL = " (other protocol)"
"""Behind what results of older versions say; such figures are compared with nothing."""


def deployment_table(scenario: ScenarioSummary) -> Table:
    """A row a result: seconds from features to features over each link, and against uncoded transfer."""
    links = [answer.mbit_per_s for answer in scenario.links]
    columns = [CODEC_COLUMN, POINT_COLUMN, Column("retention %"), Column("encode"), Column("decode")]
    columns += [Column(f"{link:g} Mbit/s", "encode + transfer + decode of one sample") for link in links]
    uncoded = [Cell("uncoded", "", strong=all(answer.codec is None for answer in scenario.links)), Cell("")]
    uncoded += [Cell("100.0", 1.0), Cell(text.NOTHING), Cell(text.NOTHING)]
    uncoded += [Cell(text.duration(a.uncoded_seconds), a.uncoded_seconds, a.codec is None) for a in scenario.links]
    rows = [uncoded]
    for codec in scenario.codecs:
        for point in codec.points if codec.role == "codec" else []:
            cells = [name_cell(codec.codec), name_cell(point.label)]
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
            codec = text.shown(_spec_of_answer(scenario, answer.codec, answer.label))
            times = f"{text.duration(answer.total_seconds)} a sample instead of {text.duration(answer.uncoded_seconds)}"
            sentences.append(f"{link} use {codec}: {times}, {text.number(answer.speedup)} times faster.")
    return sentences


def _spec_of_answer(scenario: ScenarioSummary, name: str, label: str) -> str:
    """A link's answer as the command line takes it."""
    points = ((codec, point) for codec in scenario.codecs if codec.codec == name for point in codec.points)
    return next(spec_of_point(codec, point) for codec, point in points if point.label == label)


def front_table(scenario: ScenarioSummary) -> Table:
    """The rate points that no other one beats in rate, score and decode speed at once, by rising rate."""
    found = [(codec, p) for codec in scenario.codecs if codec.role == "codec" for p in codec.points if p.on_front]
    columns = [
        CODEC_COLUMN,
        POINT_COLUMN,
        Column("EBPFP", "rate; uncoded is 32"),
        Column("retention %", "(score - floor) / (anchor - floor)"),
        Column("decode MB/s", "10^6 raw bytes a second, median over samples"),
        Column("draws %", "share of the bootstrap draws of rate and score in which it is on the front"),
    ]
    rows = [
        [
            name_cell(codec.codec),
            name_cell(point.label),
            number_cell(point.ebpfp),
            Cell(text.percent(point.retention), point.retention.value),
            number_cell(point.decode_mb_per_s),
            Cell(text.NOTHING if point.front_share is None else f"{100 * point.front_share:.0f}", point.front_share),
        ]
        for codec, point in sorted(found, key=lambda pair: pair[1].ebpfp or 0.0)
    ]
    beaten = [text.shown(codec.codec) for codec in scenario.codecs if codec.role == "codec" and codec not in
              [kept for kept, _ in found]]  # fmt: skip
    notes = [
        "A point is on the front where no other is at least as good in rate, score and decode speed and better in one; "
        f"speeds within {100 * SPEED_NOISE:.0f} % are equal."
    ]
    if beaten:
        notes.append(f"Beaten at every rate point: {', '.join(beaten)}.")
    return Table("Pareto front", columns, rows, notes)


def working_point(codec: CodecSummary) -> RatePoint:
    """Where a codec is looked into: its lowest rate that keeps 95 % of the score, else its highest."""
    kept = [p for p in codec.points if keeps(p.retention.value, REQUIRED_RETENTION)]
    return (kept or codec.points[-1:])[0]


def tensor_table(scenario: ScenarioSummary, *, every_point: bool = False) -> Table:
    """A row a tensor and codec at its working point, or at every point: error, quantiser and payload."""
    columns = [
        CODEC_COLUMN,
        POINT_COLUMN,
        Column("tensor", numeric=False),
        Column("elements"),
        Column("MSE"),
        Column("NMSE", "MSE over the MSE of the calibration mean"),
        Column("of MSE %", "share of the squared error of all tensors"),
        Column("of NMSE %", "share of the normalised squared error of all tensors"),
        Column("quantiser %", "error after the quantiser alone, over the total; nothing where the codec cannot tell"),
        Column("payload bytes", "this tensor's section; nothing where the codec joins tensors"),
        Column("of bits %", "share of the payload of all tensors"),
        Column("payload BPFP", "the published figure: payload bits per feature point"),
    ]
    rows = [
        [
            Cell(text.shown(codec.codec) + ROLE_NAMES[codec.role], codec.codec),
            name_cell(point.label),
            name_cell(tensor.name),
            Cell(f"{tensor.elements:,}", tensor.elements),
            number_cell(tensor.mse),
            number_cell(tensor.nmse),
            _share(tensor.error_share),
            _share(tensor.nmse_share),
            _share(tensor.quantiser_share),
            Cell(text.NOTHING if tensor.payload_bytes is None else f"{tensor.payload_bytes:,}", tensor.payload_bytes),
            _share(tensor.payload_share),
            number_cell(tensor.payload_bpfp),
        ]
        for codec in scenario.codecs
        if codec.role == "codec" or every_point
        for point in (codec.points if every_point else [working_point(codec)])
        for tensor in point.tensors
    ]
    share = f"{100 * REQUIRED_RETENTION:.0f} %"
    where = f"its lowest rate that keeps {share} of the score, or at its highest"
    notes = [] if every_point else [f"Each codec at {where}. summary.json has all points."]
    return Table("Tensors", columns, rows, notes)


def _share(value: float | None) -> Cell:
    return Cell(text.NOTHING if value is None else f"{100 * value:.1f}", value)


def bound_table(scenario: ScenarioSummary) -> Table:
    """A row a tensor: how it entered the Gaussian bound."""
    columns = [
        Column("tensor", numeric=False),
        Column("channels"),
        Column("observations"),
        Column("basis", numeric=False),
    ]
    rows = [
        [name_cell(t.name), Cell(f"{t.channels:,}", t.channels), Cell(f"{t.observations:,}", t.observations),
         Cell("channels decorrelated" if t.basis == "covariance" else "each channel's variance")]
        for t in (scenario.bound.tensors if scenario.bound else [])
    ]  # fmt: skip
    joint = scenario.bound.joint if scenario.bound else None
    joined = [
        f"As one source in the joint bound: {', '.join(map(text.shown, group.tensors))} ({group.channels:,} channels, "
        f"{group.observations:,} rows)."
        for group in (joint.groups if joint else [])
    ]
    reason = f"No bound: {text.shown(scenario.bound_reason, text.MAX_LINE)}." if scenario.bound_reason else ""
    return Table("Gaussian bound", columns, rows, [reason] if reason else joined)


def codec_table(scenario: ScenarioSummary) -> Table:
    """A row a codec: what it learned and from what; learned parameters are not counted as rate."""
    columns = [
        CODEC_COLUMN,
        Column("lossless", numeric=False),
        KNOWLEDGE_COLUMN,
        Column("learned bytes"),
        Column("code", "where it comes from, and which version of it", numeric=False),
        Column("verified samples", "the fewest of its rate points"),
    ]
    rows = [
        [
            Cell(text.shown(codec.codec) + ROLE_NAMES[codec.role], codec.codec),
            Cell("yes" if codec.lossless else "no"),
            Cell(codec.trained_on),
            Cell(f"{codec.state_bytes:,}", codec.state_bytes),
            name_cell(codec.identity or text.NOTHING),
            verified_cell(codec.verified_samples),
        ]
        for codec in scenario.codecs
    ]
    notes = [
        "Learned parameters are known to both sides and not counted as rate.",
        "Trained on: nothing; features of the calibration split; these and how the tail responds to them (tail); or "
        "other data, which may be anything. Ranks are told apart by these classes, because a codec that knows the tail "
        "approaches sending the answer.",
        "Verified: so many samples of each rate point were decoded in another process, from the saved codec and the "
        "bytes alone, to the bits that were scored.",
    ]
    return Table("Codecs", columns, rows, notes)


def _given(scenario: ScenarioSummary) -> dict[str, str]:
    if not scenario.given_bytes_per_sample:
        return {}
    size = text.size(scenario.given_bytes_per_sample)
    return {"given to the tail": f"{size} a sample, which no codec sees and no rate counts"}


def _judged_by(scenario: ScenarioSummary) -> dict[str, str]:
    """Whose lists a metric judges by that may be given another one."""
    if scenario.metric not in METRICS.names() or not METRICS.get(scenario.metric).file_options:
        return {}
    given = scenario.metric_identity.partition(JOINED)[2]
    what = " and ".join(METRICS.get(scenario.metric).file_options)
    return {f"{what} of the metric": given or "none given: the rules of this project"}


def protocol_facts(scenario: ScenarioSummary) -> list[tuple[str, str]]:
    """What one needs to repeat the measurement, as name and value."""
    facts = {
        "scenario": f"{scenario.scenario}@{scenario.version}",
        "samples": f"{scenario.samples} of {scenario.test_samples} in the test split",
        "raw bytes a sample": text.size(scenario.raw_bytes_per_sample),
        "feature points a sample": f"{scenario.elements_per_sample:,.0f}",
        **_given(scenario),
        "scenario digest": scenario.scenario_digest,
        "data revision": scenario.data_revision,
        "protocol version": str(scenario.protocol_version) + ("" if scenario.current else OTHER_PROTOCOL),
        "code of the metric": scenario.metric_identity,
        **_judged_by(scenario),
        "code of the split model": scenario.adapter_identity,
        "code of the data": scenario.builder_identity,
        "batch size": str(scenario.batch_size),
        "dtype of the tail": scenario.dtype,
        "device type": scenario.device_type,
        "seed": str(scenario.seed),
        **{f"run: {key}": value for key, value in scenario.run.items()},
    }
    return [(text.shown(key), text.shown(value, text.MAX_LINE) or text.NOTHING) for key, value in facts.items()]
