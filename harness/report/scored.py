"""Results with their bootstrap draws: score, rate, retention and error of each draw of samples.

All results of a scenario are scored on the same draws, so that every difference between them is a paired one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.metrics.base import METRICS, Metric
from harness.report.collect import Evidence
from harness.report.summary import Estimate
from harness.report.text import metric_name
from harness.results.result import ANCHOR, FLOOR
from harness.results.scoring import make_metric
from harness.statistics import curves
from harness.statistics.bootstrap import bootstrap_ratio, draw_counts, interval, resample_indices, resample_sums
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.registry import is_file_reference
from lamofcbench.scenarios.base import Scenario

Draws = NDArray[np.float64]


@dataclass
class Scored:
    """A result with its draws, each ``[resamples]``; None where the metric or the errors are not to be had.

    Attributes:
        rate_draws: EBPFP.
        retention: NaN until `set_retention`, and where anchor or floor are missing.
        mse_draws: over all elements of all tensors.
        nmse_draws: the same after each tensor is scaled by the floor's error on the same draw.
        divergence_draws: of the responses, in nats a position or as a normalised error.
    """

    item: Evidence
    score_draws: Draws | None
    rate_draws: Draws
    retention: float = math.nan
    retention_draws: Draws | None = None
    mse_draws: Draws | None = None
    nmse_draws: Draws | None = None
    divergence_draws: Draws | None = None
    _errors: dict[str, Draws] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the report calls the codec."""
        return self.item.label

    @property
    def ebpfp(self) -> float:
        """The rate; NaN where no sample has a feature point."""
        ebpfp = self.item.result.rate.ebpfp
        return math.nan if ebpfp is None else ebpfp


def estimate(value: float, draws: Draws | None) -> Estimate:
    """A figure with the interval of its draws; none of a figure that is not finite."""
    if not math.isfinite(value):
        return Estimate(value=None)
    bounds = interval(draws) if draws is not None and len(draws) else None
    return Estimate(value=value) if bounds is None else Estimate(value=value, low=bounds[0], high=bounds[1])


def metric_of(name: str, scenario: Scenario | None) -> Metric:
    """The metric, by name or as the user's scenario names it; never from a path that a result names."""
    if scenario is not None:
        return make_metric(scenario)
    if is_file_reference(name) or name.startswith(":"):
        raise LaMoFCBenchError(
            f"its metric {name!r} is in a user's file; name the scenario with --scenarios FILE.py:NAME"
        )
    return METRICS.get(name)()


def score(
    evidence: Sequence[Evidence], scenario: Scenario | None, resamples: int, seed: int
) -> tuple[list[Scored], list[str]]:
    """The results with bootstrap draws; those whose score their own samples contradict are left out."""
    indices = resample_indices(evidence[0].result.samples, resamples, seed, stream=evidence[0].result.scenario)
    counts = draw_counts(indices, indices.shape[1])
    unscored = [_drawn(item, counts) for item in evidence]
    _set_errors(unscored)
    try:
        metric = metric_of(evidence[0].result.metric, scenario)
        agrees = [_close(metric.score(item.statistics), item.result.score) for item in evidence]
    except LaMoFCBenchError as error:
        return unscored, [f"no intervals: {error}"]
    except Exception as error:  # the metric may be the user's own, and the statistics anybody's
        return unscored, [
            f"no intervals: metric {metric_name(evidence[0].result.metric)} fails on the stored statistics ({error!r})"
        ]
    if not any(agrees):
        return unscored, ["no intervals: the metric as installed here gives other scores than the results state"]
    scored, warnings = [], []
    for entry, agreed in zip(unscored, agrees, strict=True):
        if agreed:
            entry.score_draws = metric.score_draws(entry.item.statistics, indices)
            scored.append(entry)
        else:
            name = f"{entry.name} {entry.item.result.config_hash}"
            warnings.append(f"left out {name}: its score is not what its own samples give")
    return scored, warnings


def set_retention(scored: Iterable[Scored], by_name: Mapping[str, list[Scored]]) -> list[str]:
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


def _close(computed: float, stated: float) -> bool:
    return math.isclose(computed, stated, rel_tol=1e-9, abs_tol=1e-12)


def _drawn(item: Evidence, counts: Draws) -> Scored:
    errors = {name: resample_sums(values, counts) for name, values in item.squared_errors.items()}
    entry = Scored(item, None, bootstrap_ratio(256 * item.coded_bytes, item.raw_bits, counts), _errors=errors)
    if errors and item.elements.any():
        entry.mse_draws = bootstrap_ratio(np.sum(list(item.squared_errors.values()), axis=0), item.elements, counts)
    if item.divergence is not None and item.divergence_over is not None:
        entry.divergence_draws = bootstrap_ratio(item.divergence, item.divergence_over, counts)
    return entry


def _set_errors(scored: Iterable[Scored]) -> None:
    """The draws of both errors; a tensor's elements are those of the whole split, which weigh it in every draw."""
    scored = list(scored)
    floor = next((entry for entry in scored if entry.name == FLOOR and entry._errors), None)
    for entry in scored:
        tensors = entry.item.result.tensors
        elements = sum(record.elements for record in tensors.values())
        if not entry._errors or not elements:
            continue
        if floor is not None and floor._errors.keys() == entry._errors.keys():
            with np.errstate(invalid="ignore", divide="ignore"):
                parts = [
                    record.elements * entry._errors[name] / floor._errors[name]
                    for name, record in tensors.items()
                    if record.elements
                ]
            entry.nmse_draws = np.sum(parts, axis=0) / elements
