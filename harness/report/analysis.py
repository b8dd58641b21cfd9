"""From results to the summary of one scenario: scores with intervals, retention, EBPFP@p, BD-rates, fronts, bound."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.report.bd_rates import with_bd_rates
from harness.report.bounds import NO_SCENARIO, ScenarioBound
from harness.report.collect import Evidence
from harness.report.declared import declaration
from harness.report.deployment import link_answers
from harness.report.faithful import faithful_rate
from harness.report.fronts import with_fronts
from harness.report.origins import role_of
from harness.report.points import median_speeds, rate_point, speeds_of
from harness.report.prompts import prompt_bytes
from harness.report.ranks import ranks
from harness.report.run_facts import shared_facts
from harness.report.scored import Draws, Scored, estimate, score, set_retention
from harness.report.spectra import Spectra
from harness.report.summary import (
    RETAINED_PERCENTS,
    BDRateRecord,
    BoundRecord,
    CodecSummary,
    Estimate,
    FaithfulRate,
    LowErrorRate,
    RatePoint,
    RetainedRate,
    ScenarioSummary,
    ranking_percent_of,
)
from harness.results.result import FLOOR, Result
from harness.statistics import curves
from harness.statistics.bootstrap import resample_indices
from lamofcbench.codecs.knowledge import most
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.scenarios.base import Scenario
from lamofcbench.scenarios.kinds import kind_of

SPEED_DRAWS = 200

FindSpectra = Callable[[Scenario, Result, Result | None], Spectra]
"""From a scenario, a result and the floor's; raises `LaMoFCBenchError` where spectra are not to be had."""


@dataclass
class CodecDraws:
    """A codec's figures on each bootstrap draw; those that are undefined are left out.

    Attributes:
        ebpfp: by percent, EBPFP@percent.
        faithful: EBPFP@nats, or @error where responses are values.
        bd_rates: by measure, in per cent.
        gaps: by normalised error, bits above the Gaussian bound.
        speeds: ``encode`` and ``decode``, 10^6 raw bytes a second.
    """

    ebpfp: dict[int, Draws] = field(default_factory=dict)
    faithful: Draws | None = None
    bd_rates: dict[str, Draws] = field(default_factory=dict)
    gaps: dict[float, Draws] = field(default_factory=dict)
    speeds: dict[str, Draws] = field(default_factory=dict)


@dataclass(frozen=True)
class ScenarioAnalysis:
    """A scenario's summary, and what only the figures over several scenarios need.

    Attributes:
        summary: what is reported.
        draws: by codec.
        warnings: what a reader must know.
    """

    summary: ScenarioSummary
    draws: dict[str, CodecDraws]
    warnings: list[str]


def analyse_scenario(
    evidence: Sequence[Evidence],
    *,
    reference: str | None,
    resamples: int,
    seed: int,
    declared: Mapping[str, Scenario] | None = None,
    find_spectra: FindSpectra | None = None,
) -> ScenarioAnalysis:
    """The summary of comparable results of one scenario.

    Args:
        evidence: of one context, see `harness.report.contexts`.
        reference: the codec that BD-rates refer to.
        resamples: bootstrap draws; 0 for no intervals.
        seed: of the draws.
        declared: scenarios from users' own files, by id; registered ones need not be given.
        find_spectra: what the Gaussian bound is made of; None leaves the bound out.
    """
    scenario = declaration(evidence[0].result.scenario, declared or {})
    scored, warnings = score(evidence, scenario, resamples, seed)
    first = scored[0].item.result
    entries: dict[str, list[Scored]] = defaultdict(list)
    for entry in sorted(scored, key=lambda entry: entry.item.result.rate.coded_bytes):  # all are of the same samples
        entries[entry.name].append(entry)
    warnings += set_retention(scored, entries)
    raw_bytes = first.rate.raw_bits / 8 / first.samples
    floor = entries[FLOOR][0].item if FLOOR in entries else None
    indices = resample_indices(first.samples, min(resamples, SPEED_DRAWS), seed, stream=first.scenario)
    draws = {name: CodecDraws() for name in entries}
    codecs = []
    for name, group in entries.items():
        points = [rate_point(entry, group, floor, raw_bytes) for entry in group]
        retained = _retained(group, draws[name])
        codecs.append(_codec_summary(name, group, points, retained, indices, draws[name]))
    codecs, bd_draws = with_bd_rates(codecs, entries, reference, first.direction)
    for name, found in bd_draws.items():
        draws[name].bd_rates.update(found)
    codecs = with_fronts(codecs, entries, first.direction)
    codecs, bound, bound_reason = _with_bound(codecs, entries, scenario, floor, find_spectra, draws)
    ranking_percent = ranking_percent_of(first.samples)
    codecs.sort(key=lambda codec: _rank(codec, ranking_percent))
    codecs = _with_ranks(codecs, ranking_percent)
    summary = ScenarioSummary(
        scenario=first.scenario,
        version=first.scenario_version,
        title=scenario.title if scenario else first.scenario,
        edition=scenario.edition if scenario else "user",
        mirrors=scenario.mirrors if scenario else None,
        variant_of=scenario.variant_of if scenario else None,
        features=kind_of(scenario.specs) if scenario else None,
        metric=first.metric,
        direction=first.direction,
        samples=first.samples,
        test_samples=first.test_samples,
        ranking_percent=ranking_percent,
        elements_per_sample=first.rate.elements / first.samples,
        raw_bytes_per_sample=raw_bytes,
        prompt_bytes_per_sample=prompt_bytes(scenario, first.rate.elements / first.samples),
        given_bytes_per_sample=first.given_bytes / first.samples,
        anchor=_score_of(codecs, "anchor"),
        floor=_score_of(codecs, "floor"),
        scenario_digest=first.scenario_digest,
        data_revision=first.data_revision,
        protocol_version=first.protocol_version,
        current=first.is_current,
        metric_identity=first.metric_identity,
        adapter_identity=first.adapter_identity,
        builder_identity=first.builder_identity,
        batch_size=first.batch_size,
        dtype=first.dtype,
        device_type=first.device_type,
        seed=first.seed,
        codecs=codecs,
        bound=bound,
        bound_reason=bound_reason,
        links=link_answers(codecs, raw_bytes),
        run=shared_facts([entry.item.run for entry in scored]),
    )
    return ScenarioAnalysis(summary, draws, [f"{first.scenario}: {line}" for line in warnings])


def _retained(entries: Sequence[Scored], draws: CodecDraws) -> list[RetainedRate]:
    """EBPFP@p of a codec's curve for each p; leaves the draws of each."""
    rates = [entry.ebpfp for entry in entries]
    rate_draws = np.stack([entry.rate_draws for entry in entries], axis=-1)
    retention_draws = [entry.retention_draws for entry in entries if entry.retention_draws is not None]
    retained = []
    for percent in RETAINED_PERCENTS:
        found = curves.rate_at_retention(rates, [entry.retention for entry in entries], percent)
        if found is None:
            retained.append(RetainedRate(percent=percent, ebpfp=Estimate(value=None), bound=None, compression=None))
            continue
        if len(retention_draws) == len(entries) and len(rate_draws):
            draws.ebpfp[percent] = curves.rates_at_retention(rate_draws, np.stack(retention_draws, axis=-1), percent)
        ebpfp = estimate(found.ebpfp, draws.ebpfp.get(percent))
        compression = curves.UNCODED_EBPFP / found.ebpfp
        retained.append(RetainedRate(percent=percent, ebpfp=ebpfp, bound=found.bound, compression=compression))
    return retained


def _codec_summary(
    name: str,
    entries: Sequence[Scored],
    points: list[RatePoint],
    retained: list[RetainedRate],
    indices: np.ndarray,
    draws: CodecDraws,
) -> CodecSummary:
    records = [entry.item.result.codec for entry in entries]
    none = BDRateRecord(percent=None, overlap=None, reason="")
    rate, draws.faithful = faithful_rate(entries)
    speeds = {}
    for stage in ("encode", "decode"):
        drawn = _speed_draws(entries, f"{stage}_seconds", indices)
        if drawn is not None:
            draws.speeds[stage] = drawn
        speeds[stage] = estimate(_median_of(getattr(p, f"{stage}_mb_per_s") for p in points), drawn)
    return CodecSummary(
        codec=name,
        name=records[0].name,
        identity=records[0].identity,
        role=role_of(entries[0].item),
        lossless=all(record.lossless for record in records),
        trained_on=most(record.trained_on for record in records),
        state_bytes=max(record.state_bytes for record in records),
        retained=retained,
        faithful=rate if isinstance(rate, FaithfulRate) else None,
        low_error=rate if isinstance(rate, LowErrorRate) else None,
        bd_rate_score=none,
        bd_rate_mse=none,
        bd_rate_nmse=none,
        bound_gaps=[],
        encode_mb_per_s=speeds["encode"],
        decode_mb_per_s=speeds["decode"],
        points=points,
        verified_samples=min(point.verified_samples for point in points),
    )


def _speed_draws(entries: Sequence[Scored], stage: str, indices: np.ndarray) -> Draws | None:
    """The median over rate points of the median speed over each draw's samples."""
    medians = []
    for entry in entries:
        speeds = speeds_of(entry.item.raw_bits, getattr(entry.item, stage))
        if speeds is None:
            return None
        medians.append(median_speeds(speeds, indices))
    drawn: Draws = np.median(medians, axis=0)
    return drawn


def _median_of(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else math.nan


def _with_bound(
    codecs: list[CodecSummary],
    entries: Mapping[str, Sequence[Scored]],
    scenario: Scenario | None,
    floor: Evidence | None,
    find_spectra: FindSpectra | None,
    draws: Mapping[str, CodecDraws],
) -> tuple[list[CodecSummary], BoundRecord | None, str]:
    """The codecs with their distances to the bound, the bound, and why there is none."""
    if find_spectra is None:
        return codecs, None, "left out"
    if scenario is None:
        return codecs, None, NO_SCENARIO
    if not next(iter(entries.values()))[0].item.result.rate.elements:
        return codecs, None, "no sample has a feature point"
    first = next(iter(entries.values()))[0].item.result
    try:
        spectra = find_spectra(scenario, first, floor.result if floor is not None else None)
    except LaMoFCBenchError as error:
        return codecs, None, str(error)
    bound = ScenarioBound(spectra, first)
    measured = []
    for codec in codecs:
        with_gaps, gaps = bound.with_gaps(codec, entries[codec.codec])
        draws[codec.codec].gaps.update(gaps)
        measured.append(with_gaps)
    points = [point for codec in measured if codec.role == "codec" for point in codec.points]
    return measured, bound.record(points), ""


def _score_of(codecs: Iterable[CodecSummary], role: str) -> Estimate:
    return next((codec.points[0].score for codec in codecs if codec.role == role), Estimate(value=None))


def _with_ranks(codecs: list[CodecSummary], percent: int) -> list[CodecSummary]:
    """Codecs that stand in their order, with their ranks among all and in their class."""
    figures = [codec.retained_at(percent).ebpfp.value if codec.role == "codec" else None for codec in codecs]
    found = ranks([codec.trained_on for codec in codecs], figures)
    return [
        codec.model_copy(update={"rank": rank, "class_rank": class_rank})
        for codec, (rank, class_rank) in zip(codecs, found, strict=True)
    ]


def _rank(codec: CodecSummary, percent: int) -> tuple:
    """Codecs by EBPFP@percent, those that share a place by the other percent; then the anchor, then the floor."""
    rates = {retained.percent: retained.ebpfp.value for retained in codec.retained}
    values = [rates[percent], *(rates[other] for other in RETAINED_PERCENTS if other != percent)]
    return (
        ("codec", "anchor", "floor").index(codec.role),
        *(math.inf if value is None else value for value in values),
        codec.codec,
    )
