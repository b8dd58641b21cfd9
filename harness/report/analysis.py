"""From results to the summary of one scenario: scores with intervals, retention, EBPFP@p, BD-rates, speeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import curves
from harness.bootstrap import bootstrap_ratio, bootstrap_scores, interval, resample_indices
from harness.metrics.base import METRICS, Metric
from harness.report.collect import ANCHOR, FLOOR, Evidence
from harness.report.deployment import link_answers, link_times
from harness.report.run_facts import shared_facts
from harness.report.summary import (
    RANKING_SAMPLES,
    RETAINED_PERCENTS,
    BDRateRecord,
    CodecSummary,
    Estimate,
    RatePoint,
    RetainedRate,
    ScenarioSummary,
    TensorPoint,
)
from harness.scoring import make_metric
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.rates import compression_ratio
from lamofcbench.registry import is_file_reference
from lamofcbench.scenarios.base import SCENARIOS, Scenario

Draws = NDArray[np.float64]
ROLES = {ANCHOR: "anchor", FLOOR: "floor"}


@dataclass(frozen=True)
class ScenarioAnalysis:
    """A scenario's summary, and what only the figures over several scenarios need.

    Attributes:
        summary: what is reported.
        draws: by codec and percent, EBPFP@percent of each bootstrap draw; empty where there are no draws.
        warnings: what a reader must know.
    """

    summary: ScenarioSummary
    draws: dict[str, dict[int, Draws]]
    warnings: list[str]


@dataclass
class _Scored:
    """A result with its draws; None where the metric is not to be had."""

    item: Evidence
    score_draws: Draws | None
    rate_draws: Draws
    retention: float = math.nan
    retention_draws: Draws | None = None


def analyse_scenario(
    evidence: Sequence[Evidence],
    *,
    reference: str | None,
    resamples: int,
    seed: int,
    declared: Mapping[str, Scenario] | None = None,
) -> ScenarioAnalysis:
    """The summary of comparable results of one scenario.

    Args:
        evidence: of one context, see `harness.report.contexts`.
        reference: the codec that BD-rates refer to.
        resamples: bootstrap draws; 0 for no intervals.
        seed: of the draws.
        declared: scenarios from users' own files, by id; registered ones need not be given.
    """
    first = evidence[0].result
    scenario = _declaration(first.scenario, declared or {})
    scored, warnings = _score(evidence, scenario, resamples, seed)
    first = scored[0].item.result
    by_name: dict[str, list[_Scored]] = defaultdict(list)
    for entry in sorted(scored, key=lambda entry: entry.item.result.rate.ebpfp):
        by_name[entry.item.result.codec.name].append(entry)
    warnings += _set_retention(scored, by_name)
    raw_bytes = first.rate.raw_bits / 8 / first.samples
    floor = by_name[FLOOR][0].item if FLOOR in by_name else None
    codecs, draws = [], {}
    for name, entries in by_name.items():
        points = [_rate_point(entry, entries, floor, raw_bytes) for entry in entries]
        retained, draws[name] = _retained(entries)
        codecs.append(_codec_summary(name, entries, points, retained))
    codecs = _with_bd_rates(codecs, reference, first.direction)
    ranking_percent = 95 if first.samples < RANKING_SAMPLES else 99
    codecs.sort(key=lambda codec: _rank(codec, ranking_percent))
    summary = ScenarioSummary(
        scenario=first.scenario,
        version=first.scenario_version,
        title=scenario.title if scenario else first.scenario,
        mirrors=scenario.mirrors if scenario else None,
        metric=first.metric,
        direction=first.direction,
        samples=first.samples,
        test_samples=first.test_samples,
        ranking_percent=ranking_percent,
        elements_per_sample=first.rate.elements / first.samples,
        raw_bytes_per_sample=raw_bytes,
        anchor=_score_of(codecs, "anchor"),
        floor=_score_of(codecs, "floor"),
        scenario_digest=first.scenario_digest,
        data_revision=first.data_revision,
        protocol_version=first.protocol_version,
        batch_size=first.batch_size,
        dtype=first.dtype,
        device_type=first.device_type,
        seed=first.seed,
        codecs=codecs,
        links=link_answers(codecs, raw_bytes),
        run=shared_facts([entry.item.run for entry in scored]),
    )
    return ScenarioAnalysis(summary, draws, [f"{first.scenario}: {line}" for line in warnings])


# ---------------------------------------------------------------------------------------------- scores and their draws


def _declaration(name: str, declared: Mapping[str, Scenario]) -> Scenario | None:
    if name in declared:
        return declared[name]
    try:
        return SCENARIOS.get(name)
    except LaMoFCBenchError:
        return None


def _metric(name: str, scenario: Scenario | None) -> Metric:
    """The metric, by name or as the user's scenario names it; never from a path that a result names."""
    if scenario is not None:
        return make_metric(scenario)
    if is_file_reference(name) or name.startswith(":"):
        raise LaMoFCBenchError(
            f"its metric {name!r} is in a user's file; name the scenario with --scenarios FILE.py:NAME"
        )
    return METRICS.get(name)()


def _score(
    evidence: Sequence[Evidence], scenario: Scenario | None, resamples: int, seed: int
) -> tuple[list[_Scored], list[str]]:
    """The results with bootstrap draws; those whose score their own samples contradict are left out."""
    indices = resample_indices(evidence[0].result.samples, resamples, seed, stream=evidence[0].result.scenario)
    rates = [bootstrap_ratio(256 * item.coded_bytes, item.raw_bits, indices) for item in evidence]
    unscored = [_Scored(item, None, rate) for item, rate in zip(evidence, rates, strict=True)]
    try:
        metric = _metric(evidence[0].result.metric, scenario)
        agrees = [
            math.isclose(metric.score(i.statistics), i.result.score, rel_tol=1e-9, abs_tol=1e-12) for i in evidence
        ]
    except LaMoFCBenchError as error:
        return unscored, [f"no intervals: {error}"]
    except Exception as error:  # the metric may be the user's own, and the statistics anybody's
        return unscored, [
            f"no intervals: metric {evidence[0].result.metric!r} fails on the stored statistics ({error!r})"
        ]
    if not any(agrees):
        return unscored, ["no intervals: the metric as installed here gives other scores than the results state"]
    scored, warnings = [], []
    for item, rate, agreed in zip(evidence, rates, agrees, strict=True):
        if agreed:
            scored.append(_Scored(item, bootstrap_scores(metric, item.statistics, indices), rate))
        else:
            name = f"{item.result.codec.name} {item.result.config_hash}"
            warnings.append(f"left out {name}: its score is not what its own samples give")
    return scored, warnings


def _close(computed: float, stated: float) -> bool:
    return math.isclose(computed, stated, rel_tol=1e-9, abs_tol=1e-12)


def _set_retention(scored: Iterable[_Scored], by_name: Mapping[str, list[_Scored]]) -> list[str]:
    """Fills in retention; says why where there is none."""
    missing = [name for name in (ANCHOR, FLOOR) if name not in by_name]
    if missing:
        return [f"no retention: there is no result of codec {' and '.join(missing)}"]
    anchor, floor = by_name[ANCHOR][0], by_name[FLOOR][0]
    direction = anchor.item.result.direction
    for entry in scored:
        score, best, worst = (part.item.result.score for part in (entry, anchor, floor))
        entry.retention = float(curves.retention(score, best, worst, direction))
        if entry.score_draws is not None and anchor.score_draws is not None and floor.score_draws is not None:
            entry.retention_draws = curves.retention(
                entry.score_draws, anchor.score_draws, floor.score_draws, direction
            )
    if math.isnan(anchor.retention):
        return ["no retention: uncoded features score no better than the calibration mean"]
    return []


def _estimate(value: float, draws: Draws | None) -> Estimate:
    if not math.isfinite(value):
        return Estimate(value=None)
    bounds = interval(draws) if draws is not None and len(draws) else None
    return Estimate(value=value) if bounds is None else Estimate(value=value, low=bounds[0], high=bounds[1])


def _retained(entries: Sequence[_Scored]) -> tuple[list[RetainedRate], dict[int, Draws]]:
    """EBPFP@p of a codec's curve for each p, and the draws of each."""
    rates = [entry.item.result.rate.ebpfp for entry in entries]
    rate_draws = np.stack([entry.rate_draws for entry in entries], axis=-1)
    retention_draws = [entry.retention_draws for entry in entries if entry.retention_draws is not None]
    retained, all_draws = [], {}
    for percent in RETAINED_PERCENTS:
        found = curves.rate_at_retention(rates, [entry.retention for entry in entries], percent)
        if found is None:
            retained.append(RetainedRate(percent=percent, ebpfp=Estimate(value=None), bound=None, compression=None))
            continue
        draws = None
        if len(retention_draws) == len(entries) and len(rate_draws):
            draws = curves.rates_at_retention(rate_draws, np.stack(retention_draws, axis=-1), percent)
            all_draws[percent] = draws
        ebpfp = _estimate(found.ebpfp, draws)
        compression = curves.UNCODED_EBPFP / found.ebpfp
        retained.append(RetainedRate(percent=percent, ebpfp=ebpfp, bound=found.bound, compression=compression))
    return retained, all_draws


# -------------------------------------------------------------------------------------------------- points and codecs


def _rate_point(entry: _Scored, entries: Sequence[_Scored], floor: Evidence | None, raw_bytes: float) -> RatePoint:
    item, result = entry.item, entry.item.result
    tensors = _tensor_points(item, floor)
    bytes_per_sample = result.rate.coded_bytes / result.samples
    encode, decode = _median(item.encode_seconds), _median(item.decode_seconds)
    return RatePoint(
        folder=item.folder.relative_to(item.folder.parents[2]).as_posix(),
        config_hash=result.config_hash,
        label=params_label(result.codec.params, [other.item.result.codec.params for other in entries]),
        params=result.codec.params,
        fingerprint=result.codec.fingerprint,
        coded_bytes=result.rate.coded_bytes,
        bytes_per_sample=bytes_per_sample,
        bpfp=result.rate.bpfp,
        ebpfp=result.rate.ebpfp,
        compression=compression_ratio(8 * result.rate.coded_bytes, result.rate.raw_bits),
        score=_estimate(result.score, entry.score_draws),
        retention=_estimate(entry.retention, entry.retention_draws),
        mse=result.mse,
        nmse=_weighted_nmse(tensors),
        encode_seconds=encode,
        decode_seconds=decode,
        encode_mb_per_s=_throughput(item.raw_bits, item.encode_seconds),
        decode_mb_per_s=_throughput(item.raw_bits, item.decode_seconds),
        links=link_times(bytes_per_sample, raw_bytes, encode, decode),
        tensors=tensors,
    )


def params_label(params: Mapping[str, Any], ladder: Sequence[Mapping[str, Any]]) -> str:
    """The parameters in which the rate points of a codec differ, or all of them where there is one point.

    Example:
        >>> params_label({"step": 0.5, "table": "a"}, [{"step": 0.5, "table": "a"}, {"step": 1.0, "table": "a"}])
        'step=0.5'
    """
    varying = [key for key in params if len(ladder) == 1 or any(other.get(key) != params[key] for other in ladder)]
    return " ".join(
        f"{key}={params[key]:g}" if isinstance(params[key], float) else f"{key}={params[key]}" for key in varying
    )


def _tensor_points(item: Evidence, floor: Evidence | None) -> list[TensorPoint]:
    points = []
    for name, record in item.result.tensors.items():
        base = floor.result.tensors.get(name) if floor is not None else None
        scalable = record.mse is not None and base is not None and base.mse
        points.append(
            TensorPoint(
                name=name,
                elements=record.elements,
                mse=record.mse,
                nmse=record.mse / base.mse if scalable else None,  # type: ignore[operator, union-attr]
                payload_bytes=record.payload_bytes,
                payload_bpfp=record.payload_bpfp,
            )
        )
    return points


def _weighted_nmse(tensors: Sequence[TensorPoint]) -> float | None:
    elements = sum(tensor.elements for tensor in tensors)
    if not elements or any(tensor.nmse is None for tensor in tensors if tensor.elements):
        return None
    return sum(tensor.elements * tensor.nmse for tensor in tensors if tensor.nmse is not None) / elements


def _median(values: Draws | None) -> float | None:
    return None if values is None else float(np.median(values))


def _throughput(raw_bits: Draws, seconds: Draws | None) -> float | None:
    if seconds is None or not (seconds > 0).all():
        return None
    return float(np.median(raw_bits / 8 / seconds) / 1e6)


def _codec_summary(
    name: str, entries: Sequence[_Scored], points: list[RatePoint], retained: list[RetainedRate]
) -> CodecSummary:
    records = [entry.item.result.codec for entry in entries]
    order = ("nothing", "calibration", "other data")
    none = BDRateRecord(percent=None, overlap=None, reason="")
    return CodecSummary(
        codec=name,
        role=ROLES.get(name, "codec"),  # type: ignore[arg-type]
        lossless=all(record.lossless for record in records),
        trained_on=max((record.trained_on for record in records), key=order.index),
        state_bytes=max(record.state_bytes for record in records),
        retained=retained,
        bd_rate_score=none,
        bd_rate_mse=none,
        bd_rate_nmse=none,
        encode_mb_per_s=_median_of(point.encode_mb_per_s for point in points),
        decode_mb_per_s=_median_of(point.decode_mb_per_s for point in points),
        points=points,
    )


def _median_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _with_bd_rates(codecs: list[CodecSummary], reference: str | None, direction: str) -> list[CodecSummary]:
    base = next((codec for codec in codecs if codec.codec == reference), None)
    filled = []
    for codec in codecs:
        records = {}
        for measure in ("score", "mse", "nmse"):
            if base is None:
                found = curves.BDRate(reason=f"no result of {reference}" if reference else "no reference codec chosen")
            elif codec.role != "codec":
                found = curves.BDRate(reason=f"the {codec.role} is no curve")
            else:
                found = curves.bd_rate(*_curve(base, measure, direction), *_curve(codec, measure, direction))
            records[f"bd_rate_{measure}"] = BDRateRecord(
                percent=found.percent, overlap=found.overlap, reason=found.reason
            )
        filled.append(codec.model_copy(update=records))
    return filled


def _curve(codec: CodecSummary, measure: str, direction: str) -> tuple[list[float], list[float]]:
    """Rates, and qualities that rise as the codec gets better; errors count in decibels, as PSNR does."""
    rates, qualities = [], []
    for point in codec.points:
        if measure == "score":
            quality = point.score.value
            quality = -quality if quality is not None and direction == "down" else quality
        else:
            error = point.mse if measure == "mse" else point.nmse
            quality = -10 * math.log10(error) if error else None  # a lossless point has no finite quality
        if quality is not None:
            rates.append(point.ebpfp)
            qualities.append(quality)
    return rates, qualities


def _score_of(codecs: Iterable[CodecSummary], role: str) -> Estimate:
    return next((codec.points[0].score for codec in codecs if codec.role == role), Estimate(value=None))


def _rank(codec: CodecSummary, percent: int) -> tuple:
    """Codecs by EBPFP@percent, ties by the other percent; then the anchor, then the floor."""
    rates = {retained.percent: retained.ebpfp.value for retained in codec.retained}
    values = [rates[percent], *(rates[other] for other in RETAINED_PERCENTS if other != percent)]
    return (
        ("codec", "anchor", "floor").index(codec.role),
        *(math.inf if value is None else value for value in values),
        codec.codec,
    )
