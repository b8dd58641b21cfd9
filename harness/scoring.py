"""Figures from a table of samples: score, rate and distortion. Needs neither model nor features."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from harness import records
from harness.metrics.base import METRICS, Metric
from harness.results import RateRecord, TensorRecord
from lamofcbench import rates
from lamofcbench.errors import ResultsError, ScenarioError
from lamofcbench.scenarios.base import Scenario


def make_metric(scenario: Scenario) -> Metric:
    """The metric that a scenario names, with its options.

    Raises:
        ScenarioError: if metric and scenario do not fit each other.
    """
    metric_class = METRICS.get(scenario.metric, relative_to=scenario.origin)
    try:
        metric = metric_class(**scenario.metric_options)
    except TypeError as error:
        what = f"scenario {scenario.id!r}: metric {scenario.metric!r}"
        raise ScenarioError(f"{what} refuses its options: {error}") from error
    if metric.direction != scenario.direction:
        raise ScenarioError(
            f"scenario {scenario.id!r} says direction {scenario.direction!r}; metric {scenario.metric!r} goes "
            f"{metric.direction!r}"
        )
    if scenario.prediction not in metric.accepts:
        raise ScenarioError(
            f"scenario {scenario.id!r}: metric {scenario.metric!r} compares {' or '.join(metric.accepts)}, not "
            f"{scenario.prediction}"
        )
    return metric


def score_table(metric: Metric, table: pa.Table) -> float:
    """The score over the samples of a table.

    Raises:
        ResultsError: if the metric gives no finite score.
    """
    score = float(metric.score(records.statistics_of(table)))
    if not math.isfinite(score):
        raise ResultsError(f"metric {metric.name!r} gives {score} for these samples, which is no score")
    return score


def read_figures(path: Path) -> pa.Table:
    """``samples.parquet`` without predictions and references, which may be large."""
    return records.read_table(path, leave_out=("prediction", "reference"))


def rate_of(table: pa.Table) -> RateRecord:
    """Sums and rates over the samples of a table."""
    coded_bytes, elements, raw_bits = (
        int(np.sum(records.column(table, name))) for name in ("coded_bytes", "elements", "raw_bits")
    )
    return RateRecord(
        coded_bytes=coded_bytes,
        elements=elements,
        raw_bits=raw_bits,
        bpfp=rates.bpfp(8 * coded_bytes, elements),
        ebpfp=rates.ebpfp(8 * coded_bytes, raw_bits),
    )


def tensors_of(table: pa.Table) -> dict[str, TensorRecord]:
    """Each tensor's share, by name."""
    found: dict[str, TensorRecord] = {}
    for column in table.column_names:
        if not column.startswith("squared_error."):
            continue
        name = column.removeprefix("squared_error.")
        elements = int(np.sum(records.column(table, f"elements.{name}")))
        known: dict[str, Any] = {}
        if f"quantiser_error.{name}" in table.column_names:
            share = records.total(records.column(table, f"quantiser_error.{name}"))
            known["quantiser_mse"] = _mean(share, elements)
        if f"payload_bytes.{name}" in table.column_names:
            payload_bytes = int(np.sum(records.column(table, f"payload_bytes.{name}")))
            known |= {"payload_bytes": payload_bytes, "payload_bpfp": rates.bpfp(8 * payload_bytes, elements)}
        error = records.total(records.column(table, column))
        found[name] = TensorRecord(elements=elements, mse=_mean(error, elements), **known)
    return found


def mse_of(table: pa.Table) -> float | None:
    """Mean squared error over all elements of all tensors; None where one is not finite."""
    columns = [name for name in table.column_names if name.startswith("squared_error.")]
    error = records.total(np.concatenate([records.column(table, name) for name in columns]))
    return _mean(error, int(np.sum(records.column(table, "elements"))))


def _mean(total: float, count: int) -> float | None:
    if not math.isfinite(total):
        return None
    return total / count if count else 0.0
