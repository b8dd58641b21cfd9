"""One result as a point of its codec's curve, with its share of every tensor."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.report.collect import Evidence
from harness.report.deployment import link_times
from harness.report.faithful import divergence
from harness.report.scored import Scored, estimate
from harness.report.summary import CodecSummary, RatePoint, TensorPoint
from harness.results.result import TensorRecord
from lamofcbench.codecs.params import plain_defaults
from lamofcbench.codecs.registry import CODECS, spec_text
from lamofcbench.rates import compression_ratio


def rate_point(entry: Scored, entries: Sequence[Scored], floor: Evidence | None, raw_bytes: float) -> RatePoint:
    """The point of a result; what takes the other codecs to know (fronts, distances to the bound) is still open.

    Args:
        entry: the result.
        entries: all results of the codec, among which its label tells it apart.
        floor: the calibration mean's result, whose errors scale the normalised ones.
        raw_bytes: of an uncoded sample.
    """
    item, result = entry.item, entry.item.result
    tensors = tensor_points(item.result.tensors, floor.result.tensors if floor is not None else {})
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
        score=estimate(result.score, entry.score_draws),
        retention=estimate(entry.retention, entry.retention_draws),
        mse=result.mse,
        nmse=_weighted_nmse(tensors),
        divergence_nats=divergence(entry, "logits"),
        response_error=divergence(entry, "values"),
        gap_mse=None,
        gap_nmse=None,
        encode_seconds=encode,
        decode_seconds=decode,
        encode_mb_per_s=throughput(item.raw_bits, item.encode_seconds),
        decode_mb_per_s=throughput(item.raw_bits, item.decode_seconds),
        on_front=None,
        front_share=None,
        links=link_times(bytes_per_sample, raw_bytes, encode, decode),
        tensors=tensors,
        state_bytes=result.codec.state_bytes,
        verified_samples=result.verification.samples if result.verification else 0,
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


def spec_of_params(codec: str, params: Mapping[str, Any], ladder: Sequence[Mapping[str, Any]]) -> str:
    """A rate point as the command line takes it: what differs within the ladder, and what is no default.

    Args:
        codec: what the report calls it. A registered name tells the defaults.
        params: of the point.
        ladder: of all points of the codec.

    Example:
        >>> spec_of_params("uniform", {"step": 0.05}, [{"step": 0.05}, {"step": 2.0}])
        'uniform:step=0.05'
    """
    defaults = plain_defaults(CODECS.get(codec).Params) if codec in CODECS.names() else None
    if defaults is None and len(ladder) == 1:
        defaults = {}
    return spec_text(codec, params, ladder, defaults)


def spec_of_point(codec: CodecSummary, point: RatePoint) -> str:
    """A rate point of a report as the command line takes it."""
    return spec_of_params(codec.codec, point.params, [other.params for other in codec.points])


def tensor_points(tensors: Mapping[str, TensorRecord], floor: Mapping[str, TensorRecord]) -> list[TensorPoint]:
    """Each tensor's error, quantiser and payload, and its shares of the sums over all tensors."""
    nmses = {name: _normalised(record, floor.get(name)) for name, record in tensors.items()}
    errors = _shares({name: _times(record.mse, record.elements) for name, record in tensors.items()})
    normalised = _shares({name: _times(nmses[name], record.elements) for name, record in tensors.items()})
    payloads = _shares({name: _times(record.payload_bytes, 1) for name, record in tensors.items()})
    return [
        TensorPoint(
            name=name,
            elements=record.elements,
            mse=record.mse,
            nmse=nmses[name],
            error_share=errors[name],
            nmse_share=normalised[name],
            quantiser_mse=record.quantiser_mse,
            quantiser_share=_ratio(record.quantiser_mse, record.mse),
            payload_bytes=record.payload_bytes,
            payload_bpfp=record.payload_bpfp,
            payload_share=payloads[name],
        )
        for name, record in tensors.items()
    ]


def throughput(raw_bits: NDArray[np.float64], seconds: NDArray[np.float64] | None) -> float | None:
    """10^6 raw bytes a second, median over the samples that have any; None where a time is missing or zero."""
    speeds = speeds_of(raw_bits, seconds)
    return None if speeds is None or np.isnan(speeds).all() else float(np.nanmedian(speeds))


def speeds_of(raw_bits: NDArray[np.float64], seconds: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """10^6 raw bytes a second of each sample, NaN for one without any; None where a time is missing or zero."""
    if seconds is None or not (seconds > 0).all():
        return None
    return np.where(raw_bits > 0, raw_bits / 8e6 / seconds, np.nan)


def median_speeds(speeds: NDArray[np.float64], indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """The median speed of each draw over its samples that have one; NaN where none has."""
    drawn = speeds[indices]
    if not np.isnan(speeds).any():
        return np.asarray(np.median(drawn, axis=1))  # ten times as fast as the other
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice encountered")
        return np.asarray(np.nanmedian(drawn, axis=1))


def _normalised(record: TensorRecord, floor: TensorRecord | None) -> float | None:
    return _ratio(record.mse, floor.mse) if floor is not None else None


def _ratio(value: float | None, base: float | None) -> float | None:
    if value is None or not base:
        return None
    ratio = value / base
    return ratio if math.isfinite(ratio) else None


def _times(value: float | None, count: int) -> float | None:
    return 0.0 if not count else None if value is None else value * count


def _shares(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Each value over their sum; None for all where one is missing or all are zero."""
    known = [value for value in values.values() if value is not None]
    total = math.fsum(known)
    if len(known) < len(values) or not total > 0 or math.isinf(total):
        return dict.fromkeys(values)
    return {name: value / total for name, value in values.items() if value is not None}


def _weighted_nmse(tensors: Sequence[TensorPoint]) -> float | None:
    elements = sum(tensor.elements for tensor in tensors)
    if not elements or any(tensor.nmse is None for tensor in tensors if tensor.elements):
        return None
    return sum(tensor.elements * tensor.nmse for tensor in tensors if tensor.nmse is not None) / elements


def _median(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(np.median(values))
