"""Two results folders side by side: what changed beyond noise.

Results are paired by scenario, codec and parameters. Where both runs cover the same samples of the same data, the
bootstrap is paired: the same samples are drawn for both, so that hard samples do not count as a difference. Where the
data differ, the draws are independent, and a note says so. A figure counts as changed where the whole interval
of its difference lies on one side of zero; for rate and speed, on one side of a margin about it: a rate may move by
bytes without meaning, and times vary with the machine's load from run to run, which no draw of samples shows.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.metrics.base import Metric
from harness.report.collect import Evidence, read_results
from harness.report.comparison import (
    RETAINED,
    Comparison,
    Measure,
    Pair,
    ScenarioPairing,
    absolute_change,
    relative_change,
)
from harness.report.contexts import comparable, short
from harness.report.declared import declaration
from harness.report.origins import labelled, labels_of, origin_of
from harness.report.points import median_speeds, params_label, speeds_of
from harness.report.scored import metric_of
from harness.report.summary import RETAINED_PERCENTS
from harness.report.transfers import at_home
from harness.results.result import ANCHOR, FLOOR
from harness.statistics import bootstrap, curves
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.scenarios.base import Scenario

CONFIDENCE = 0.99
"""Many figures are compared at once: at 95 % one in twenty that did not change would be called changed."""

RATE_MARGIN = 0.001
SPEED_MARGIN = 0.5

SPEEDS: tuple[Measure, Measure] = ("encode speed", "decode speed")

SAME_DATA = ("scenario_version", "scenario_digest", "data_revision", "metric", "direction")
SAME_CONDITIONS = (
    "metric_identity",
    "adapter_identity",
    "builder_identity",
    "batch_size",
    "dtype",
    "device_type",
    "seed",
)

Draws = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class _Settings:
    resamples: int
    seed: int
    confidence: float
    speed_margin: float
    speeds: bool


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """One result on the samples that are compared: figures, and each figure's draws."""

    item: Evidence
    ebpfp: float
    rate_draws: Draws
    score: float | None
    score_draws: Draws | None
    speeds: dict[Measure, tuple[float, Draws]]


def compare_runs(
    run_a: Path,
    run_b: Path,
    *,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
    confidence: float = CONFIDENCE,
    speed_margin: float = SPEED_MARGIN,
    speeds: bool = True,
    scenarios: Sequence[Scenario] = (),
) -> Comparison:
    """What differs between two results folders.

    Args:
        run_a: the first results folder, usually the older one.
        run_b: the second.
        resamples: bootstrap draws, at least 1.
        seed: of the draws.
        confidence: of the intervals that decide what is noise.
        speed_margin: speeds within a factor of 1 + this are equal.
        speeds: False leaves speeds out, for runs under different load.
        scenarios: scenarios from users' own files, whose metrics are needed.

    Raises:
        ResultsError: if a folder holds no usable result.
    """
    settings = _Settings(resamples, seed, confidence, speed_margin, speeds)
    declared = {scenario.id: scenario for scenario in scenarios}
    groups, warnings = [], []
    for run in (run_a, run_b):
        evidence, unusable = read_results(run, declared)
        own, elsewhere = at_home(evidence)
        group, left_out = comparable(own)
        groups.append(group)
        warnings += [f"{run}: {line}" for line in (*unusable, *left_out)]
        if elsewhere:
            warnings.append(f"{run}: left out {len(elsewhere)} results of codecs fitted on other scenarios")
    labels = labels_of(origin_of(item) for group in groups for items in group.values() for item in items)
    groups = [labelled(group, labels) for group in groups]
    pairings, pairs = [], []
    for name in sorted(groups[0].keys() & groups[1].keys()):
        protocols = [group[name][0].result.protocol_version for group in groups]
        if protocols[0] != protocols[1]:
            old, new = protocols
            warnings.append(f"{name}: not compared, the runs are of protocols {old} and {new}; run the older one again")
            continue
        pairing, found = _compare_scenario(groups[0][name], groups[1][name], declared, settings)
        pairings.append(pairing)
        pairs += found
    names = [{_name(item, group) for group in run.values() for item in group} for run in groups]
    return Comparison(
        run_a=str(run_a),
        run_b=str(run_b),
        confidence=confidence,
        resamples=resamples,
        rate_margin=RATE_MARGIN,
        speed_margin=speed_margin,
        scenarios=pairings,
        pairs=pairs,
        only_a=sorted(names[0] - names[1]),
        only_b=sorted(names[1] - names[0]),
        warnings=warnings,
    )


def _name(item: Evidence, group: Iterable[Evidence]) -> str:
    params = item.result.codec.params
    ladder = [other.result.codec.params for other in group if other.label == item.label]
    return " ".join(filter(None, (item.result.scenario, item.label, params_label(params, ladder))))


def _key(item: Evidence) -> tuple[str, str]:
    return item.label, json.dumps(item.result.codec.params, sort_keys=True)


def _compare_scenario(
    group_a: Sequence[Evidence], group_b: Sequence[Evidence], declared: Mapping[str, Scenario], settings: _Settings
) -> tuple[ScenarioPairing, list[Pair]]:
    first_a, first_b = group_a[0].result, group_b[0].result
    notes = _differences(group_a[0], group_b[0], SAME_CONDITIONS) + _other_code(group_a, group_b)
    notes += _other_points(group_a, group_b)
    machines = [sorted({str(item.run.get("processor", "")) for item in group}) for group in (group_a, group_b)]
    if machines[0] != machines[1]:
        notes.append("speeds were measured on other machines")
    other_data = _differences(group_a[0], group_b[0], SAME_DATA)
    shared = _common(group_a[0], group_b[0]) if not other_data else None
    paired = shared is not None
    if shared is None:
        notes += other_data or ["no sample in common"]
        shared = np.arange(first_a.samples), np.arange(first_b.samples)
    streams = ["", ""] if paired else ["/a", "/b"]
    metric: Metric | None = None
    try:
        metric = metric_of(first_a.metric, declaration(first_a.scenario, declared))
        if first_a.metric != first_b.metric or first_a.direction != first_b.direction:
            metric = None
    except LaMoFCBenchError as error:
        notes.append(f"scores are not compared: {error}")
    drawn = []
    for group, rows, stream in zip((group_a, group_b), shared, streams, strict=True):
        indices = bootstrap.resample_indices(len(rows), settings.resamples, settings.seed, first_a.scenario + stream)
        drawn.append({_key(item): _draw(item, rows, indices, metric) for item in group})
    if metric is not None and any(part.score is None for side in drawn for part in side.values()):
        notes.append("some scores cannot be computed from the stored statistics and are not compared")
    pairs = _point_pairs(drawn[0], drawn[1], settings) + _curve_pairs(drawn[0], drawn[1], settings)
    samples = min(map(len, shared))
    return ScenarioPairing(scenario=first_a.scenario, paired=paired, samples=samples, notes=notes), pairs


def _differences(a: Evidence, b: Evidence, fields: Iterable[str]) -> list[str]:
    pairs = [(field, str(getattr(a.result, field)), str(getattr(b.result, field))) for field in fields]
    return [f"{field} was {short(old)}, is {short(new)}" for field, old, new in pairs if old != new]


def _other_code(group_a: Iterable[Evidence], group_b: Iterable[Evidence]) -> list[str]:
    """A note for each codec whose code differs between the runs: such a change may be the code's own."""
    codes = [{item.label: item.code for item in group} for group in (group_a, group_b)]
    identities = [{item.label: item.result.codec.identity for item in group} for group in (group_a, group_b)]
    return [
        f"the code of {label} was {short(identities[0][label])}, is {short(identities[1][label])}"
        for label in sorted(codes[0].keys() & codes[1].keys())
        if codes[0][label] != codes[1][label]
    ]


def _other_points(group_a: Iterable[Evidence], group_b: Iterable[Evidence]) -> list[str]:
    """A note for each codec whose curves lie on other rate points: EBPFP@p may differ by what lies between them."""
    keys = [{_key(item) for item in group} for group in (group_a, group_b)]
    points = [collections.Counter(label for label, _ in own) for own in keys]
    moved = {label for label, _ in keys[0] ^ keys[1]} & points[0].keys() & points[1].keys()
    return [
        f"the curves of {label} have other rate points ({points[0][label]} and {points[1][label]}), which alone may "
        "change its EBPFP@p"
        for label in sorted(moved)
    ]


def _common(a: Evidence, b: Evidence) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The rows of the samples that both have, in the same order; None where there is none."""
    _, rows_a, rows_b = np.intersect1d(a.index, b.index, return_indices=True)
    same = a.raw_bits[rows_a] == b.raw_bits[rows_b]
    return (rows_a[same], rows_b[same]) if same.any() else None


def _draw(item: Evidence, rows: NDArray[np.int64], indices: NDArray[np.int64], metric: Metric | None) -> _Drawn:
    coded, raw = 256 * item.coded_bytes[rows], item.raw_bits[rows]
    statistics = {name: values[rows] for name, values in item.statistics.items()}
    score, score_draws = None, None
    if metric is not None:
        try:
            score, score_draws = float(metric.score(statistics)), metric.score_draws(statistics, indices)
        except Exception:  # the metric may be the user's own, and the statistics anybody's
            score = None
    speeds: dict[Measure, tuple[float, Draws]] = {}
    for stage, seconds in zip(SPEEDS, (item.encode_seconds, item.decode_seconds), strict=True):
        each = speeds_of(raw, None if seconds is None else seconds[rows])
        if each is not None and not np.isnan(each).all():
            speeds[stage] = float(np.nanmedian(each)), median_speeds(each, indices)
    rate_draws = bootstrap.bootstrap_ratio(coded, raw, bootstrap.draw_counts(indices, len(rows)))
    ebpfp = float(coded.sum() / raw.sum()) if raw.any() else math.nan
    return _Drawn(item, ebpfp, rate_draws, score, score_draws, speeds)


_Side = Mapping[tuple[str, str], _Drawn]


def _point_pairs(side_a: _Side, side_b: _Side, settings: _Settings) -> list[Pair]:
    pairs = []
    references = [_anchor_and_floor(side) for side in (side_a, side_b)]
    for key in sorted(side_a.keys() & side_b.keys(), key=lambda key: (key[0], side_a[key].ebpfp)):
        a, b = side_a[key], side_b[key]
        result = a.item.result
        changes = []
        if math.isfinite(a.ebpfp) and math.isfinite(b.ebpfp):
            draws = a.rate_draws, b.rate_draws
            changes.append(relative_change("rate", a.ebpfp, b.ebpfp, *draws, -1, RATE_MARGIN, settings.confidence))
        if a.score_draws is not None and b.score_draws is not None and a.score is not None and b.score is not None:
            sign = 1 if result.direction == "up" else -1
            changes.append(
                absolute_change("score", a.score, b.score, a.score_draws, b.score_draws, sign, settings.confidence)
            )
            kept_a, kept_b = (_retention(part, *ends) for part, ends in zip((a, b), references, strict=True))
            if kept_a is not None and kept_b is not None and result.codec.name not in (ANCHOR, FLOOR):
                changes.append(
                    absolute_change("retention", kept_a[0], kept_b[0], kept_a[1], kept_b[1], 1, settings.confidence)
                )
        for stage in SPEEDS:
            if settings.speeds and stage in a.speeds and stage in b.speeds:
                (speed_a, draws_a), (speed_b, draws_b) = a.speeds[stage], b.speeds[stage]
                changes.append(
                    relative_change(
                        stage, speed_a, speed_b, draws_a, draws_b, 1, settings.speed_margin, settings.confidence
                    )
                )
        params = [part.item.result.codec.params for (codec, _), part in side_a.items() if codec == key[0]]
        label = params_label(result.codec.params, params)
        if changes:
            pairs.append(Pair(scenario=result.scenario, codec=key[0], label=label, changes=changes))
    return pairs


def _curve_pairs(side_a: _Side, side_b: _Side, settings: _Settings) -> list[Pair]:
    """EBPFP@p of the codecs that both runs have, each over all rate points of its run."""
    pairs = []
    for codec in sorted({key[0] for key in side_a} & {key[0] for key in side_b} - {ANCHOR, FLOOR}):
        found = [_retained(side, codec) for side in (side_a, side_b)]
        changes = []
        for percent, name in zip(RETAINED_PERCENTS, RETAINED, strict=True):
            if all(percent in part for part in found):
                (a, draws_a), (b, draws_b) = (part[percent] for part in found)
                change = relative_change(name, a.ebpfp, b.ebpfp, draws_a, draws_b, -1, RATE_MARGIN, settings.confidence)
                changes.append(change.with_bounds(a.bound, b.bound))
        if changes:
            scenario = next(iter(side_a.values())).item.result.scenario
            pairs.append(Pair(scenario=scenario, codec=codec, label="", changes=changes))
    return pairs


def _retained(side: _Side, codec: str) -> dict[int, tuple[curves.ReachedRate, Draws]]:
    """EBPFP@p of a codec and its draws, by percent; empty where retention is undefined."""
    ends = _anchor_and_floor(side)
    points = [part for key, part in side.items() if key[0] == codec]
    kept = [_retention(part, *ends) for part in points]
    known = [part for part in kept if part is not None]
    if len(known) < len(points):
        return {}
    rates, rate_draws = [part.ebpfp for part in points], np.stack([part.rate_draws for part in points], axis=-1)
    retention_draws = np.stack([draws for _, draws in known], axis=-1)
    found = {}
    for percent in RETAINED_PERCENTS:
        figure = curves.rate_at_retention(rates, [value for value, _ in known], percent)
        if figure is not None:
            found[percent] = figure, curves.rates_at_retention(rate_draws, retention_draws, percent)
    return found


def _anchor_and_floor(side: _Side) -> tuple[_Drawn | None, _Drawn | None]:
    by_name = {key[0]: part for key, part in side.items()}
    return by_name.get(ANCHOR), by_name.get(FLOOR)


def _retention(part: _Drawn, anchor: _Drawn | None, floor: _Drawn | None) -> tuple[float, Draws] | None:
    if anchor is None or floor is None:
        return None
    direction = part.item.result.direction
    scores = [end.score for end in (part, anchor, floor) if end.score is not None]
    draws = [end.score_draws for end in (part, anchor, floor) if end.score_draws is not None]
    if len(scores) < 3 or len(draws) < 3:
        return None
    value = float(curves.retention(scores[0], scores[1], scores[2], direction))
    return None if np.isnan(value) else (value, curves.retention(draws[0], draws[1], draws[2], direction))
