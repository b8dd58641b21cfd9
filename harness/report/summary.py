"""The schema of ``summary.json``: everything that the tables, figures and the page show, and nothing they compute.

``Summary.model_json_schema()`` is the published schema. Keys are written in the order of the fields, floats in full.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.curves import Bound

LINKS_MBIT_PER_S = (1, 10, 100)
RETAINED_PERCENTS = (95, 99)
RANKING_SAMPLES = 400
"""A split of fewer samples cannot tell 99 % from 100 % apart, so @95 ranks there."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(_Strict):
    """A figure with its bootstrap interval; null where it, or its interval, is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class RetainedRate(_Strict):
    """EBPFP@percent."""

    percent: int
    ebpfp: Estimate
    bound: Bound | None = Field(description="'at most': even the lowest rate point keeps it; 'never': counted as 32")
    compression: float | None = Field(description="32 / EBPFP@percent")


class BDRateRecord(_Strict):
    """Mean rate difference to the reference codec at equal quality."""

    percent: float | None
    overlap: float | None = Field(description="share of the joint quality range that both curves cover")
    reason: str = Field(description="why there is no figure; empty where there is one")


class TensorPoint(_Strict):
    """One tensor at one rate point."""

    name: str
    elements: int
    mse: float | None
    nmse: float | None = Field(description="MSE over the MSE of the calibration mean")
    payload_bytes: int | None
    payload_bpfp: float | None


class LinkTime(_Strict):
    """Encode, transfer and decode of one sample over one link."""

    mbit_per_s: float
    transfer_seconds: float
    total_seconds: float
    speedup: float = Field(description="uncoded transfer time over total_seconds")


class RatePoint(_Strict):
    """One result."""

    folder: str = Field(description="relative to the results folder")
    config_hash: str
    label: str = Field(description="the parameters in which the codec's rate points differ")
    params: dict[str, Any]
    fingerprint: str
    coded_bytes: int
    bytes_per_sample: float
    bpfp: float
    ebpfp: float
    compression: float
    score: Estimate
    retention: Estimate
    mse: float | None
    nmse: float | None = Field(description="MSE after each tensor is scaled so that the calibration mean's error is 1")
    encode_seconds: float | None = Field(description="median over samples")
    decode_seconds: float | None = Field(description="median over samples")
    encode_mb_per_s: float | None = Field(description="10^6 raw bytes a second, median over samples")
    decode_mb_per_s: float | None = Field(description="10^6 raw bytes a second, median over samples")
    links: list[LinkTime]
    tensors: list[TensorPoint]


class CodecSummary(_Strict):
    """One codec on one scenario; its points in the order of rising rate."""

    codec: str
    role: Literal["codec", "anchor", "floor"]
    lossless: bool
    trained_on: Literal["nothing", "calibration", "other data"]
    state_bytes: int = Field(description="the largest of its points")
    retained: list[RetainedRate]
    bd_rate_score: BDRateRecord
    bd_rate_mse: BDRateRecord
    bd_rate_nmse: BDRateRecord
    encode_mb_per_s: float | None = Field(description="median over rate points")
    decode_mb_per_s: float | None = Field(description="median over rate points")
    points: list[RatePoint]


class LinkAnswer(_Strict):
    """What to send over one link; codec null where uncoded features arrive first."""

    mbit_per_s: float
    uncoded_seconds: float
    codec: str | None
    label: str
    total_seconds: float
    speedup: float


class ScenarioSummary(_Strict):
    """All comparable results of one scenario."""

    scenario: str
    version: int
    title: str
    mirrors: str | None
    metric: str
    direction: Literal["up", "down"]
    samples: int
    test_samples: int
    ranking_percent: int
    elements_per_sample: float
    raw_bytes_per_sample: float
    anchor: Estimate
    floor: Estimate
    scenario_digest: str
    data_revision: str
    protocol_version: int
    batch_size: int
    dtype: str
    device_type: str
    seed: int
    codecs: list[CodecSummary]
    links: list[LinkAnswer]
    run: dict[str, str] = Field(description="what run.json says, where all runs agree")


class OverallRow(_Strict):
    """A codec over all scenarios: the geometric mean of 32 / EBPFP@p."""

    codec: str
    missing: list[str] = Field(description="scenarios without a figure; the mean is null unless this is empty")
    compression: dict[str, Estimate] = Field(description="by percent")
    at_least: dict[str, bool] = Field(description="by percent: true where a scenario's EBPFP is an upper bound")


class Summary(_Strict):
    """The whole report."""

    summary_schema_version: Literal[1] = 1
    lamofcbench_version: str
    reference: str | None = Field(description="the codec that BD-rates refer to")
    resamples: int
    confidence: float
    bootstrap_seed: int
    ranking_percent: int
    overall: list[OverallRow]
    scenarios: list[ScenarioSummary]
    warnings: list[str]
