"""Codecs over an edition: geometric means of rates, BD-rates and speeds, and the front of rate and speed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from harness.report.analysis import CodecDraws, ScenarioAnalysis
from harness.report.editions import tracks
from harness.report.fronts import log_speed, on_front
from harness.report.ranks import ranks
from harness.report.scored import Draws, estimate
from harness.report.summary import (
    GAP_NMSES,
    RETAINED_PERCENTS,
    CodecSummary,
    Estimate,
    FaithfulRate,
    LowErrorRate,
    OverallBDRate,
    OverallRow,
)
from harness.statistics import curves
from lamofcbench.codecs.knowledge import most


def overall_rows(analyses: Sequence[ScenarioAnalysis], ranking_percent: int) -> list[OverallRow]:
    """A row for each codec of an edition on its tracks, the best first; those without a figure last."""
    rows = []
    for edition in dict.fromkeys(analysis.summary.edition for analysis in analyses):
        among = [analysis for analysis in analyses if analysis.summary.edition == edition]
        counted = {scenario.scenario for scenario in tracks([analysis.summary for analysis in among])}
        own = [analysis for analysis in among if analysis.summary.scenario in counted]
        names = {codec.codec for part in own for codec in part.summary.codecs if codec.role == "codec"}
        rows += ranked([_row(name, own) for name in sorted(names)], ranking_percent)
    return rows


def ranked(rows: Sequence[OverallRow], ranking_percent: int) -> list[OverallRow]:
    """The rows with the best first, their ranks, and which of them are on the front of rate and speed."""

    def rank(row: OverallRow) -> tuple[bool, float, int]:
        value = row.compression[str(ranking_percent)].value
        return (value is None, -(value or 0.0), len(row.missing))

    ordered = sorted(rows, key=rank)
    figures = [row.compression[str(ranking_percent)].value for row in ordered]
    found = ranks([row.trained_on for row in ordered], figures)
    placed = [
        row.model_copy(update={"rank": place, "class_rank": class_place})
        for row, (place, class_place) in zip(ordered, found, strict=True)
    ]
    return _with_front(placed, ranking_percent)


def _row(name: str, analyses: Sequence[ScenarioAnalysis]) -> OverallRow:
    """Means over all scenarios; a codec that lacks one gets none, for easy scenarios would flatter it."""
    missing, found, draws = [], list[CodecSummary](), list[CodecDraws]()
    for analysis in analyses:
        codec = next((codec for codec in analysis.summary.codecs if codec.codec == name), None)
        if codec is None or codec.retained[0].compression is None:
            missing.append(analysis.summary.scenario)
        if codec is not None:
            found.append(codec)
            draws.append(analysis.draws[name])
    ebpfp, compression, at_least = {}, {}, {}
    for percent in RETAINED_PERCENTS:
        key = str(percent)
        at_least[key] = any(codec.retained_at(percent).bound == "at most" for codec in found)
        ebpfp[key] = mean_rate(name, analyses, percent)
        compression[key] = _inverted(ebpfp[key])
    gaps = [(gap.bits.value, d.gaps.get(gap.nmse)) for c, d in zip(found, draws, strict=True) for gap in c.bound_gaps
            if gap.nmse == GAP_NMSES[0] and gap.bits.value is not None]  # fmt: skip
    of_joint = (gap.joint_bits.value for codec in found for gap in codec.bound_gaps if gap.nmse == GAP_NMSES[0])
    joint_gaps = [bits for bits in of_joint if bits is not None]
    faithful, faithful_scenarios = _mean_by_responses(name, analyses, "faithful")
    low_error, low_error_scenarios = _mean_by_responses(name, analyses, "low_error")
    return OverallRow(
        edition=analyses[0].summary.edition,
        codec=name,
        name=found[0].name,
        identity=found[0].identity,
        trained_on=most(codec.trained_on for codec in found),
        state_bytes=max(codec.state_bytes for codec in found),
        missing=missing,
        ebpfp=ebpfp,
        compression=compression,
        at_least=at_least,
        bd_rate_score=_bd_rate(found, draws, "score"),
        bd_rate_mse=_bd_rate(found, draws, "mse"),
        faithful_ebpfp=faithful,
        faithful_scenarios=faithful_scenarios,
        low_error_ebpfp=low_error,
        low_error_scenarios=low_error_scenarios,
        bound_gap=_mean([value for value, _ in gaps], [drawn for _, drawn in gaps]),
        bound_scenarios=len(gaps),
        joint_bound_gap=_mean(joint_gaps, []).value,
        joint_bound_scenarios=len(joint_gaps),
        encode_mb_per_s=mean_speed(name, analyses, "encode"),
        decode_mb_per_s=mean_speed(name, analyses, "decode"),
        on_front=None,
        verified_samples=min((codec.verified_samples for codec in found), default=0),
    )


def mean_rate(name: str, analyses: Sequence[ScenarioAnalysis], percent: int) -> Estimate:
    """The geometric mean of a codec's EBPFP@percent over scenarios; no figure where it lacks one of them."""
    found = _of_codec(name, analyses)
    rates = [value for codec, _ in found if (value := codec.retained_at(percent).ebpfp.value) is not None]
    return _geometric_mean(rates, [d.ebpfp.get(percent) for _, d in found], complete=len(rates) == len(analyses))


def mean_speed(name: str, analyses: Sequence[ScenarioAnalysis], stage: str) -> Estimate:
    """The geometric mean of a codec's speed over scenarios, 10^6 raw bytes a second; no figure where it lacks one.

    Args:
        name: of the codec.
        analyses: of the scenarios.
        stage: ``encode`` or ``decode``.
    """
    found = _of_codec(name, analyses)
    speeds = [value for codec, _ in found if (value := getattr(codec, f"{stage}_mb_per_s").value) is not None]
    return _geometric_mean(speeds, [d.speeds.get(stage) for _, d in found], complete=len(speeds) == len(analyses))


def _of_codec(name: str, analyses: Sequence[ScenarioAnalysis]) -> list[tuple[CodecSummary, CodecDraws]]:
    """What there is of one codec, scenario by scenario."""
    return [
        (codec, analysis.draws[name])
        for analysis in analyses
        for codec in analysis.summary.codecs
        if codec.codec == name
    ]


def _mean_by_responses(name: str, analyses: Sequence[ScenarioAnalysis], kind: str) -> tuple[Estimate, int]:
    """The geometric mean of a codec's rates by its responses, and of how many scenarios it has one.

    There is no mean where it lacks a scenario on which another codec has one.

    Args:
        name: of the codec.
        analyses: of the scenarios.
        kind: ``faithful`` or ``low_error``.
    """
    due = [part for part in analyses if any(_by_responses(codec, kind) is not None for codec in part.summary.codecs)]
    found = [(rate, draws.faithful) for codec, draws in _of_codec(name, due)
             if (rate := _by_responses(codec, kind)) is not None]  # fmt: skip
    rates, drawn = [rate for rate, _ in found], [draws for _, draws in found]
    return _geometric_mean(rates, drawn, complete=len(found) == len(due)), len(found)


def _by_responses(codec: CodecSummary, kind: str) -> float | None:
    rate: FaithfulRate | LowErrorRate | None = getattr(codec, kind)
    return None if rate is None else rate.ebpfp.value


def _mean(values: Sequence[float | None], draws: Sequence[Draws | None]) -> Estimate:
    """The mean over scenarios; draws of different ones are independent (their streams differ), so any order pairs."""
    known = [value for value in values if value is not None]
    if not known:
        return Estimate(value=None)
    drawn = [part for part in draws if part is not None and len(part)]
    if len(drawn) < len(known):
        return Estimate(value=float(np.mean(known)))
    shortest = min(map(len, drawn))
    return estimate(float(np.mean(known)), np.mean([part[:shortest] for part in drawn], axis=0))


def _geometric_mean(values: Sequence[float], draws: Sequence[Draws | None], *, complete: bool) -> Estimate:
    if not complete or not values:
        return Estimate(value=None)
    logs = _mean([math.log2(value) for value in values], [None if part is None else np.log2(part) for part in draws])
    exponentials = [None if log is None else 2.0**log for log in (logs.value, logs.low, logs.high)]
    return Estimate(value=float(curves.geometric_mean(values)), low=exponentials[1], high=exponentials[2])


def _inverted(ebpfp: Estimate) -> Estimate:
    """Compression from a rate; its interval's ends change places."""
    value, low, high = (
        None if rate is None else curves.UNCODED_EBPFP / rate for rate in (ebpfp.value, ebpfp.high, ebpfp.low)
    )
    return Estimate(value=value, low=low, high=high)


def _bd_rate(found: Iterable[CodecSummary], draws: Sequence[CodecDraws], measure: str) -> OverallBDRate:
    """The geometric mean of the rate ratios of those scenarios that have a BD-rate."""
    ratios, drawn = [], list[Draws | None]()
    for codec, part in zip(found, draws, strict=True):
        percent = getattr(codec, f"bd_rate_{measure}").percent
        if percent is not None:
            ratios.append(1 + percent / 100)
            percents = part.bd_rates.get(measure)
            drawn.append(None if percents is None else 1 + percents / 100)
    mean = _geometric_mean(ratios, drawn, complete=True)
    value, low, high = (None if ratio is None else 100 * (ratio - 1) for ratio in (mean.value, mean.low, mean.high))
    return OverallBDRate(percent=Estimate(value=value, low=low, high=high), scenarios=len(ratios))


def _with_front(rows: list[OverallRow], percent: int) -> list[OverallRow]:
    goods = {
        row.codec: (row.compression[str(percent)].value, log_speed(row.decode_mb_per_s.value))
        for row in rows
        if row.compression[str(percent)].value is not None and row.decode_mb_per_s.value is not None
    }
    if not goods:
        return rows
    flags = dict(zip(goods, on_front(np.array(list(goods.values()), np.float64), (0.0, 1.0)).tolist(), strict=True))
    return [row.model_copy(update={"on_front": flags.get(row.codec)}) for row in rows]
