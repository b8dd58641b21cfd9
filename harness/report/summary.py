"""The schema of ``summary.json``: everything that the tables, figures and the page show, and nothing they compute.

``summary.schema.json`` beside this file is the published schema (``python -m harness.report.schema`` writes it anew
after a change). Keys are written in the order of the fields, floats in full.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from harness.statistics.curves import Bound
from lamofcbench.codecs.knowledge import Knowledge
from lamofcbench.scenarios.kinds import Kind

LINKS_MBIT_PER_S = (1, 10, 100)
RETAINED_PERCENTS = (95, 99)
RANKING_SAMPLES = 400
"""A split of fewer samples cannot tell 99 % from 100 % apart, so @95 ranks there."""


def ranking_percent_of(samples: int) -> int:
    """Which EBPFP@p ranks codecs on so many samples.

    Example:
        >>> ranking_percent_of(399), ranking_percent_of(400)
        (95, 99)
    """
    return 95 if samples < RANKING_SAMPLES else 99


FAITHFUL_NATS = 0.03
"""A codec whose responses diverge less than that is faithful: a text costs 3 % of a nat a token more."""

FAITHFUL_ERROR = 0.03
"""A codec whose responses are values is faithful where it loses less than 3 % of what varies in them."""

GAP_NMSES = (0.1, 0.01)
"""At which normalised errors a codec's distance to the Gaussian bound is read."""


def _storable(value: Any) -> Any:
    """A name of a file as text: bytes that are not UTF-8, which no JSON holds, are written out."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_storable)]
"""Text that may name a file."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(_Strict):
    """A figure with its bootstrap interval; null where it, or its interval, is undefined."""

    value: float | None
    low: float | None = Field(default=None, description="lower end of the interval")
    high: float | None = Field(default=None, description="upper end of the interval")


class RetainedRate(_Strict):
    """EBPFP@percent."""

    percent: int = Field(description="of the anchor's score, above the floor's")
    ebpfp: Estimate = Field(description="the lowest rate whose monotone fit keeps it")
    bound: Bound | None = Field(description="'at most': even the lowest rate point keeps it; 'never': counted as 32")
    compression: float | None = Field(description="32 / EBPFP@percent")


class FaithfulRate(_Strict):
    """EBPFP@nats: the lowest rate at which responses that are logits stay close to those to uncoded features."""

    nats: float = Field(description="the most divergence, mean over positions")
    ebpfp: Estimate = Field(description="the lowest rate whose monotone fit of the divergence is at most that")
    bound: Bound | None = Field(description="'at most': even the lowest rate point is; 'never': counted as 32")


class LowErrorRate(_Strict):
    """EBPFP@error: the lowest rate at which responses that are values stay close to those to uncoded features."""

    error: float = Field(description="the most squared error, over the energy of those to uncoded features")
    ebpfp: Estimate = Field(description="the lowest rate whose monotone fit of the error is at most that")
    bound: Bound | None = Field(description="'at most': even the lowest rate point is; 'never': counted as 32")


class BDRateRecord(_Strict):
    """Mean rate difference to the reference codec at equal quality."""

    percent: float | None = Field(description="-50 is half the rate; null where undefined")
    low: float | None = Field(default=None, description="lower end of the interval")
    high: float | None = Field(default=None, description="upper end of the interval")
    overlap: float | None = Field(description="share of the joint quality range that both curves cover")
    reason: str = Field(description="why there is no figure; empty where there is one")


class TensorPoint(_Strict):
    """One tensor at one rate point: its error, the quantiser's share of it, and its payload."""

    name: str = Field(description="of the tensor")
    elements: int = Field(description="over all samples")
    mse: float | None = Field(description="mean squared error; null where a value is not finite")
    nmse: float | None = Field(description="MSE over the MSE of the calibration mean")
    error_share: float | None = Field(description="of the squared error of all tensors")
    nmse_share: float | None = Field(description="of the normalised squared error of all tensors")
    quantiser_mse: float | None = Field(description="after the quantiser alone; null where the codec cannot tell")
    quantiser_share: float | None = Field(description="quantiser_mse over mse; above 1 where coding undoes a part")
    payload_bytes: int | None = Field(description="its section over all samples; null where the codec joins tensors")
    payload_bpfp: float | None = Field(description="the published figure: payload bits per feature point")
    payload_share: float | None = Field(description="of the payload of all tensors")


class LinkTime(_Strict):
    """Encode, transfer and decode of one sample over one link."""

    mbit_per_s: float = Field(description="10^6 bits a second")
    transfer_seconds: float = Field(description="of the coded sample")
    total_seconds: float = Field(description="encode, transfer and decode")
    speedup: float = Field(description="uncoded transfer time over total_seconds")


class RatePoint(_Strict):
    """One result."""

    folder: Text = Field(description="relative to the results folder")
    config_hash: str = Field(description="of everything that decides the figures")
    label: str = Field(description="the parameters in which the codec's rate points differ")
    params: dict[str, Any] = Field(description="all parameters")
    fingerprint: str = Field(description="of the fitted codec")
    coded_bytes: int = Field(description="complete bitstreams of all samples")
    bytes_per_sample: float = Field(description="mean over samples")
    bpfp: float | None = Field(description="bits per feature point; null where no sample has one")
    ebpfp: float | None = Field(description="32 * coded bits / raw bits; null where no sample has any")
    compression: float = Field(description="raw over coded size")
    score: Estimate = Field(description="of the task with decoded features")
    retention: Estimate = Field(description="(score - floor) / (anchor - floor)")
    mse: float | None = Field(description="over all elements of all tensors")
    nmse: float | None = Field(description="MSE after each tensor is scaled so that the calibration mean's error is 1")
    divergence_nats: Estimate = Field(
        description="Kullback-Leibler divergence of the responses from those to uncoded features, mean over positions; "
        "null where the model shows none, or values"
    )
    response_error: Estimate = Field(
        default=Estimate(value=None),
        description="squared error of responses that are values, over the energy of those to uncoded features; null "
        "where the model shows none, or logits",
    )
    gap_mse: float | None = Field(description="BPFP above the Gaussian bound at this MSE; negative: below it")
    gap_nmse: float | None = Field(description="BPFP above the Gaussian bound at this NMSE; negative: below it")
    joint_gap_nmse: float | None = Field(
        default=None, description="the same for the bound over tensors that share their rows; null where none do"
    )
    encode_seconds: float | None = Field(description="median over samples")
    decode_seconds: float | None = Field(description="median over samples")
    encode_mb_per_s: float | None = Field(description="10^6 raw bytes a second, median over samples that have any")
    decode_mb_per_s: float | None = Field(description="10^6 raw bytes a second, median over samples that have any")
    on_front: bool | None = Field(
        description="no other point of any codec is at least as good in rate, score and decode speed and better in "
        "one; speeds within 10 % are equal"
    )
    front_share: float | None = Field(description="of the bootstrap draws in which it is on the front")
    links: list[LinkTime] = Field(description="empty where timings are missing")
    tensors: list[TensorPoint] = Field(description="in the order of the scenario")
    state_bytes: int | None = Field(
        default=None, description="learned parameters, not counted as rate; null in older reports"
    )
    verified_samples: int = Field(
        default=0,
        description="that another process decoded to the bits that were scored, from the saved codec and the bytes "
        "alone; 0: not verified",
    )


class BoundGap(_Strict):
    """A codec's distance to the Gaussian bound at one error."""

    nmse: float = Field(description="the error at which both rates are read")
    bits: Estimate = Field(description="BPFP of the codec minus that of the bound")
    joint_bits: Estimate = Field(
        default=Estimate(value=None), description="BPFP of the codec minus that of the bound over joined tensors"
    )
    reason: str = Field(description="why there is no figure; empty where there is one")


class CodecSummary(_Strict):
    """One codec on one scenario; its points in the order of rising rate."""

    codec: str = Field(description="what the report calls it: its name, and its place where two have one name")
    name: str = Field(description="the codec's own")
    identity: str = Field(description="of its code, see lamofcbench.identity; empty in results of schema 1")
    role: Literal["codec", "anchor", "floor"]
    lossless: bool = Field(description="every bit comes back")
    trained_on: Knowledge = Field(description="its class of knowledge, see lamofcbench.codecs.knowledge")
    rank: int | None = Field(default=None, description="among all codecs, by the ranking EBPFP@p; null for no figure")
    class_rank: int | None = Field(default=None, description="the same among the codecs of its class")
    state_bytes: int = Field(description="learned parameters, not counted as rate; the largest of its points")
    retained: list[RetainedRate]
    faithful: FaithfulRate | None = Field(description="null where the model shows no responses that are logits")
    low_error: LowErrorRate | None = Field(
        default=None, description="null where the model shows no responses that are values"
    )
    bd_rate_score: BDRateRecord
    bd_rate_mse: BDRateRecord
    bd_rate_nmse: BDRateRecord
    bound_gaps: list[BoundGap]
    encode_mb_per_s: Estimate = Field(description="median over rate points")
    decode_mb_per_s: Estimate = Field(description="median over rate points")
    points: list[RatePoint]
    verified_samples: int = Field(default=0, description="the fewest of its points; 0: one at least is not verified")

    def retained_at(self, percent: int) -> RetainedRate:
        """EBPFP@percent, of `RETAINED_PERCENTS`."""
        return next(part for part in self.retained if part.percent == percent)


class LinkAnswer(_Strict):
    """What to send over one link; codec null where uncoded features arrive first."""

    mbit_per_s: float = Field(description="10^6 bits a second")
    uncoded_seconds: float = Field(description="transfer of an uncoded sample")
    codec: str | None
    label: str = Field(description="of the codec's rate point")
    total_seconds: float = Field(description="encode, transfer and decode of a sample")
    speedup: float = Field(description="uncoded_seconds over total_seconds")


class BoundTensor(_Strict):
    """How a tensor entered the Gaussian bound."""

    name: str
    basis: Literal["covariance", "variances"] = Field(description="channels decorrelated, or taken as they are")
    channels: int = Field(description="with statistics of their own")
    observations: int = Field(description="vectors of channels in the calibration samples")


class BoundGroup(_Strict):
    """Tensors that entered the joint bound as one source."""

    tensors: list[str]
    channels: int = Field(description="of all tensors of a row")
    observations: int = Field(description="rows in the calibration samples")


class JointBoundRecord(_Strict):
    """The same bound where tensors that share their rows are one source; others are as in the bound beside it."""

    groups: list[BoundGroup]
    nmse: list[float] = Field(description="falling; empty where the floor's error is unknown")
    nmse_ebpfp: list[float] = Field(description="the bound's rate at each nmse")
    mse: list[float] = Field(description="falling")
    mse_ebpfp: list[float] = Field(description="the bound's rate at each mse")


class BoundRecord(_Strict):
    """The Gaussian rate-distortion bound of the calibration covariance, sampled along both error axes."""

    tensors: list[BoundTensor]
    joint: JointBoundRecord | None = Field(
        default=None, description="null where no tensors share rows, or too few calibration rows tell their covariance"
    )
    nmse: list[float] = Field(description="falling; empty where the floor's error is unknown")
    nmse_ebpfp: list[float] = Field(description="the bound's rate at each nmse")
    mse: list[float] = Field(description="falling")
    mse_ebpfp: list[float] = Field(description="the bound's rate at each mse")


class ScenarioSummary(_Strict):
    """All comparable results of one scenario."""

    scenario: str
    version: int
    title: str
    edition: str = Field(description="'user' too where the declaration is not known here")
    mirrors: str | None = Field(description="the full scenario that a mini one stands for")
    variant_of: str | None = Field(
        default=None, description="the scenario that this one is a variant of, split elsewhere; it is in no mean"
    )
    features: Kind | None = Field(
        default=None, description="the kind of features; null where the declaration is not known here"
    )
    metric: str
    direction: Literal["up", "down"] = Field(description="'up' where a higher score is better")
    samples: int = Field(description="that the figures cover")
    test_samples: int = Field(description="of the whole split")
    ranking_percent: int = Field(description="which EBPFP@p ranks codecs here")
    elements_per_sample: float = Field(description="feature points, mean over samples")
    raw_bytes_per_sample: float = Field(description="uncoded in the stored dtypes, mean over samples")
    prompt_bytes_per_sample: float | None = Field(
        default=None, description="of the prompt as token ids of 2 bytes, mean; null where the input is no text"
    )
    given_bytes_per_sample: float = Field(description="what the tail is handed besides, uncoded and in no rate; mean")
    anchor: Estimate = Field(description="score with uncoded features")
    floor: Estimate = Field(description="score with the calibration mean")
    scenario_digest: str
    data_revision: str
    protocol_version: int
    current: bool = Field(description="whether this version has that protocol; others are compared with nothing")
    metric_identity: str = Field(description="of the metric's code, see lamofcbench.identity")
    adapter_identity: str = Field(description="of the split model's code")
    builder_identity: str = Field(description="of the code that made the features; empty if not known")
    batch_size: int
    dtype: str
    device_type: str
    seed: int
    codecs: list[CodecSummary] = Field(description="best first, anchor and floor last")
    bound: BoundRecord | None = Field(description="null where bound_reason says why")
    bound_reason: Text = Field(description="why there is no bound; empty where there is one")
    links: list[LinkAnswer]
    run: dict[Text, Text] = Field(description="what run.json says; values that differ between runs stand side by side")

    @property
    def in_part(self) -> bool:
        """Whether the figures leave some of the test samples out."""
        return self.samples < self.test_samples


class OverallBDRate(_Strict):
    """Geometric mean of a codec's rate ratios to the reference over scenarios."""

    percent: Estimate = Field(description="-50 is half the rate; null where no scenario has a figure")
    scenarios: int = Field(description="how many have a figure")


class OverallRow(_Strict):
    """A codec over all scenarios of an edition."""

    edition: str = Field(default="", description="whose scenarios; empty in leaderboards older than this field")
    codec: str = Field(description="what the report calls it, see CodecSummary")
    name: str = Field(description="the codec's own")
    identity: str = Field(description="of its code, the same on all scenarios")
    trained_on: Knowledge | None = Field(
        default=None, description="its class of knowledge, the most of its results; null in older leaderboards"
    )
    rank: int | None = Field(default=None, description="among all codecs of the edition; null for no mean")
    class_rank: int | None = Field(default=None, description="the same among the codecs of its class")
    state_bytes: int | None = Field(
        default=None, description="learned parameters, the largest of its scenarios; null in older leaderboards"
    )
    missing: list[str] = Field(description="scenarios without a figure; the means are null unless this is empty")
    ebpfp: dict[str, Estimate] = Field(description="by percent: geometric mean of EBPFP@p")
    compression: dict[str, Estimate] = Field(description="by percent: geometric mean of 32 / EBPFP@p")
    at_least: dict[str, bool] = Field(description="by percent: true where a scenario's EBPFP is an upper bound")
    bd_rate_score: OverallBDRate
    bd_rate_mse: OverallBDRate
    faithful_ebpfp: Estimate = Field(
        default=Estimate(value=None),
        description="geometric mean of EBPFP@nats over the scenarios that have one; null where the codec lacks one",
    )
    faithful_scenarios: int = Field(default=0, description="on how many it has one")
    low_error_ebpfp: Estimate = Field(default=Estimate(value=None), description="the same of EBPFP@error")
    low_error_scenarios: int = Field(default=0, description="on how many it has one")
    bound_gap: Estimate = Field(description="mean over scenarios of the BPFP above the Gaussian bound at NMSE 0.1")
    joint_bound_gap: float | None = Field(
        default=None,
        description="the same above the bound over tensors that share their rows, mean over the scenarios that have it",
    )
    joint_bound_scenarios: int = Field(default=0, description="over how many")
    bound_scenarios: int = Field(description="how many scenarios have that distance")
    encode_mb_per_s: Estimate = Field(description="geometric mean over scenarios")
    decode_mb_per_s: Estimate = Field(description="geometric mean over scenarios")
    on_front: bool | None = Field(
        description="no other codec compresses at least as much at the ranking percent and decodes at least as fast, "
        "and is better in one; speeds within 10 % are equal"
    )
    verified_samples: int = Field(default=0, description="the fewest of its results; 0: one at least is not verified")


class Transfer(_Strict):
    """What a codec reaches on a scenario when it was fitted on one."""

    codec: str = Field(description="as the report calls it")
    fitted_on: str = Field(
        description="the id of the scenario whose calibration samples it has learned from; of several, joined by +"
    )
    coded: str = Field(description="the id of the scenario that it codes")
    retained: RetainedRate = Field(description="EBPFP@95 of every scenario")


class Summary(_Strict):
    """The whole report."""

    summary_schema_version: Literal[3] = 3
    lamofcbench_version: str
    reference: str | None = Field(description="the codec that BD-rates refer to")
    resamples: int = Field(description="bootstrap draws over samples")
    confidence: float = Field(description="of the intervals")
    bootstrap_seed: int
    ranking_percent: int = Field(description="which compression ranks codecs over an edition's scenarios")
    findings: list[str] = Field(description="what the figures say, in sentences")
    overall: list[OverallRow] = Field(description="edition by edition, best first")
    scenarios: list[ScenarioSummary]
    transfers: list[Transfer] = Field(
        default=[], description="codecs that were fitted on other scenarios too, beside their figures at home"
    )
    warnings: list[Text]
