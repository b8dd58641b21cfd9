"""Figures from a table of samples: score, rate and distortion. Needs neither model nor features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from harness.metrics import predictions
from harness.metrics.base import METRICS, Metric, metric_identity
from harness.results.record import (
    DIVERGENCE,
    POSITIONS,
    RESPONSE_ENERGY,
    RESPONSE_ERROR,
    Record,
    as_statistics,
    column,
    statistics_of,
    total,
)
from harness.results.result import FidelityRecord, RateRecord, TensorRecord
from harness.results.tables import read_table
from lamofcbench import provenance, rates
from lamofcbench.errors import ResultsError, ScenarioError
from lamofcbench.prediction_kinds import PredictionKind
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
    kind = scenario.prediction_kind
    if isinstance(kind, PredictionKind):
        metric.compares = kind
        fits = kind.name in metric.accepts or metric.accepts is Metric.accepts  # which a metric for own kinds leaves
    else:
        fits = kind in metric.accepts
    if not fits:
        raise ScenarioError(
            f"scenario {scenario.id!r}: metric {scenario.metric!r} compares {' or '.join(metric.accepts)}, not "
            f"{kind.name if isinstance(kind, PredictionKind) else kind}"
        )
    return metric


def code_of(scenario: Scenario, metric: Metric) -> dict[str, str]:
    """The identities of a scenario's metric and split model, as their code now is."""
    return {"metric_identity": metric_identity(metric), "adapter_identity": provenance.adapter_identity(scenario)}


def judge(metric: Metric, scenario: Scenario, prediction: Any, reference: Any) -> Record:
    """The statistics columns of a stored prediction and reference."""
    kind = metric.compares or scenario.prediction_kind
    compared = predictions.decode_prediction(kind, prediction), predictions.decode_reference(kind, reference)
    return as_statistics(metric.statistics(*compared))


def score_table(metric: Metric, table: pa.Table) -> float:
    """The score over the samples of a table; errors are those of `score_of`."""
    return score_of(metric, statistics_of(table))


def score_of(metric: Metric, statistics: Mapping[str, np.ndarray]) -> float:
    """The score of statistics.

    Args:
        metric: the metric.
        statistics: each stacked over samples.

    Raises:
        ResultsError: if the metric gives no finite score.
    """
    score = float(metric.score(statistics))
    if not math.isfinite(score):
        raise ResultsError(f"metric {metric.name!r} gives {score} for these samples, which is no score")
    return score


def details_of(metric: Metric, statistics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What the metric tells beside its score, as far as it is finite.

    Args:
        metric: the metric.
        statistics: each stacked over samples.
    """
    return {name: float(value) for name, value in metric.details(statistics).items() if math.isfinite(value)}


def given_bytes_of(table: pa.Table) -> int:
    """Sum over the samples of a table of what the tail was handed uncoded."""
    return int(np.sum(column(table, "given_bytes"))) if "given_bytes" in table.column_names else 0


def read_figures(path: Path, rows: int | None = None) -> pa.Table:
    """``samples.parquet`` without predictions and references, which may be large; see `read_table`."""
    return read_table(path, rows, leave_out=("prediction", "reference"))


def rate_of(table: pa.Table) -> RateRecord:
    """Sums and rates over the samples of a table."""
    coded_bytes, elements, raw_bits = (
        int(np.sum(column(table, name))) for name in ("coded_bytes", "elements", "raw_bits")
    )
    return RateRecord(
        coded_bytes=coded_bytes,
        elements=elements,
        raw_bits=raw_bits,
        bpfp=_defined(rates.bpfp(8 * coded_bytes, elements)),
        ebpfp=_defined(rates.ebpfp(8 * coded_bytes, raw_bits)),
    )


def figures_of(metric: Metric, table: pa.Table) -> dict[str, Any]:
    """All figures of a result that a table of samples gives, by the names that `Result` has for them."""
    return {
        "score": score_table(metric, table),
        "details": details_of(metric, statistics_of(table)),
        "rate": rate_of(table),
        "given_bytes": given_bytes_of(table),
        "mse": mse_of(table),
        "tensors": tensors_of(table),
        "fidelity": fidelity_of(table),
    }


def tensors_of(table: pa.Table) -> dict[str, TensorRecord]:
    """Each tensor's share, by name."""
    found: dict[str, TensorRecord] = {}
    for error_column in table.column_names:
        if not error_column.startswith("squared_error."):
            continue
        name = error_column.removeprefix("squared_error.")
        elements = int(np.sum(column(table, f"elements.{name}")))
        known: dict[str, Any] = {}
        if f"quantiser_error.{name}" in table.column_names:
            share = total(column(table, f"quantiser_error.{name}"))
            known["quantiser_mse"] = _mean(share, elements)
        if f"payload_bytes.{name}" in table.column_names:
            payload_bytes = int(np.sum(column(table, f"payload_bytes.{name}")))
            payload_bpfp = _defined(rates.bpfp(8 * payload_bytes, elements))
            known |= {"payload_bytes": payload_bytes, "payload_bpfp": payload_bpfp}
        error = total(column(table, error_column))
        found[name] = TensorRecord(elements=elements, mse=_mean(error, elements), **known)
    return found


def mse_of(table: pa.Table) -> float | None:
    """Mean squared error over all elements of all tensors; None where one is not finite, and where there is none."""
    columns = [name for name in table.column_names if name.startswith("squared_error.")]
    error = total(np.concatenate([column(table, name) for name in columns]))
    return _mean(error, int(np.sum(column(table, "elements"))))


def fidelity_of(table: pa.Table) -> FidelityRecord | None:
    """How far the responses are from those to uncoded features; None where the model shows none."""
    if POSITIONS not in table.column_names:
        return None
    positions = int(np.sum(column(table, POSITIONS)))
    if DIVERGENCE in table.column_names:
        return FidelityRecord(divergence_nats=_mean(total(column(table, DIVERGENCE)), positions), positions=positions)
    error, energy = total(column(table, RESPONSE_ERROR)), total(column(table, RESPONSE_ENERGY))
    return FidelityRecord(kind="values", normalised_error=_mean(error, energy), positions=positions)


def _mean(error: float, count: float) -> float | None:
    return _defined(error / count) if count else None


def _defined(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None
