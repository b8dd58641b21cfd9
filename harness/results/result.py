"""What one result is: the schema of ``result.json``, and the columns of the tables beside it.

A result lives in ``results/<scenario>@<version>/<codec>/<config hash>/``:

===================  ================================================================================================
file                 content
===================  ================================================================================================
result.json          `Result`: everything that resume, processes and machine load leave unchanged
samples.parquet      a row a sample, in dataset order; see `SAMPLE_COLUMNS`
timings.parquet      a row a sample; see `TIMING_COLUMNS`
run.json             versions, commit, device, threads, command line; differs from run to run
codec/               the codec as saved; decodes the bitstreams in a fresh process
bitstreams/          ``<index>.bin``, a file a sample, where kept
===================  ================================================================================================
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lamofcbench.codecs.knowledge import Knowledge

SCHEMA_VERSION: Literal[2] = 2
ANCHOR = "identity"
"""The codec whose score is that of uncoded features."""
FLOOR = "mean"
"""The codec that sends nothing but the container."""
PROTOCOL_VERSION = 3
"""Raised whenever the same codec and data would get other figures; part of the config hash. 3: containers of 5 bytes
and axes, fidelity beside the score."""
MAX_SAMPLES = 2**20
"""Of a test split: figures and intervals are made of all in memory."""

HASHED_FIELDS = (
    "scenario",
    "scenario_version",
    "scenario_digest",
    "data_revision",
    "builder_identity",
    "metric_identity",
    "adapter_identity",
    "batch_size",
    "dtype",
    "device_type",
    "seed",
    "protocol_version",
)
"""The fields of a result that, with the codec's fingerprint, decide its figures and make its config hash."""

SAMPLE_COLUMNS = {
    "index": "position in the test split",
    "sample_id": "the dataset's id",
    "coded_bytes": "size of the complete bitstream",
    "elements": "feature points of the sample",
    "raw_bits": "bits of the uncoded tensors in their stored dtypes",
    "given_bytes": "what the tail was handed besides, uncoded and uncounted; only where the scenario declares any",
    "squared_error.<tensor>": "sum of squared differences, float64",
    "quantiser_error.<tensor>": "the same after the quantiser alone; only for codecs that can tell (Codec.quantised)",
    "decoded_sha256": "hex digest of the decoded features (lamofcbench.digests); a bit-exact decoder gives it anywhere",
    "elements.<tensor>": "elements of that tensor",
    "payload_bytes.<tensor>": "size of that tensor's section; only for codecs that code tensor by tensor",
    "response_divergence_nats": "from the response to uncoded features, summed over positions; where it is logits",
    "response_squared_error": "of the response beside that to uncoded features, summed; where it is values",
    "response_energy": "of the response to uncoded features about its mean, summed; where it is values",
    "response_positions": "how many positions, such as scored tokens or pixels, that is summed over",
    "prediction": "as the prediction type stores it",
    "reference": "as the dataset stores it",
    "statistic.<name>": "the metric's statistics, float64 or list of float64",
}
TIMING_COLUMNS = {
    "index": "position in the test split",
    "encode_seconds": "features to bytes",
    "decode_seconds": "bytes to features, by a codec loaded from the saved folder",
    "tail_seconds": "the batch's tail time, divided by its samples",
    "score_seconds": "metric statistics of the sample",
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _as_json(params: dict[str, Any]) -> dict[str, Any]:
    json.dumps(params, allow_nan=False)
    return params


Parameters = Annotated[dict[str, Any], AfterValidator(_as_json)]
"""Of a rate point; JSON has no infinity and no NaN, which `Any` lets pass."""


class CodecRecord(_Strict):
    """Which codec made a result."""

    name: str
    identity: str = Field(default="", description="of its code, see lamofcbench.identity; empty in schema 1")
    params: Parameters
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of identity, params, specs, state, source")
    state_bytes: int = Field(ge=0, description="size of learned parameters, which are not counted as rate")
    trained_on: Knowledge = Field(description="its class of knowledge, see lamofcbench.codecs.knowledge")
    lossless: bool
    fitted_on: str | None = Field(
        default=None,
        description="the id of another scenario, or ids joined by +, on whose calibration splits it was fitted",
    )


class RateRecord(_Strict):
    """Sums over samples, and the rates made of them."""

    coded_bytes: int = Field(ge=0)
    elements: int = Field(ge=0)
    raw_bits: int = Field(ge=0)
    bpfp: float | None = Field(ge=0, description="coded bits per feature point; null where there is none")
    ebpfp: float | None = Field(ge=0, description="32 * coded bits / raw bits; uncoded is 32; null of no raw bits")


class TensorRecord(_Strict):
    """One tensor's share."""

    elements: int = Field(ge=0)
    mse: float | None = Field(
        ge=0, description="mean squared error; null where the tensor holds NaN, infinity or nothing at all"
    )
    quantiser_mse: float | None = Field(
        default=None, ge=0, description="after the quantiser alone; null where the codec cannot tell"
    )
    payload_bytes: int | None = Field(default=None, ge=0, description="null where the codec joins tensors")
    payload_bpfp: float | None = Field(default=None, ge=0, description="the published figure: payload bits per point")


class FidelityRecord(_Strict):
    """How far the model's responses to decoded features are from those to uncoded ones (`SplitModel.response`)."""

    kind: Literal["logits", "values"] = Field(
        default="logits", description="what responses are, which decides how they are compared"
    )
    divergence_nats: float | None = Field(
        default=None,
        ge=0,
        description="of logits: Kullback-Leibler divergence of decoded from uncoded, mean over positions; null where "
        "not finite",
    )
    normalised_error: float | None = Field(
        default=None,
        ge=0,
        description="of values: squared error over the energy of uncoded responses about each one's mean, both summed "
        "over samples; null where not finite",
    )
    positions: int = Field(ge=0, description="over all samples, such as scored tokens or pixels")

    @property
    def figure(self) -> float | None:
        """The divergence, in the unit of its kind."""
        return self.divergence_nats if self.kind == "logits" else self.normalised_error


class VerificationRecord(_Strict):
    """What was decoded in another process, from the saved codec and the bytes alone, to the bits that were scored."""

    samples: int = Field(ge=0, description="how many; a few are drawn by the configuration's hash")
    reason: str = Field(default="", description="why there are none; empty where there are some")


class Result(_Strict):
    """One codec at one rate point on one scenario.

    Results of schema 1 are read, too. Their protocol is an older one, so they are never compared with those of today.
    """

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    protocol_version: int = PROTOCOL_VERSION
    config_hash: str = Field(pattern=r"^[0-9a-f]{16}$")
    scenario: str
    scenario_version: int
    scenario_digest: str
    data_revision: str
    builder_identity: str = Field(default="", description="of the code that made the features; empty if not known")
    metric_identity: str = Field(default="", description="of the metric's code; empty in schema 1")
    adapter_identity: str = Field(default="", description="of the split model's code; empty in schema 1")
    codec: CodecRecord
    samples: int = Field(gt=0, le=MAX_SAMPLES, description="how many samples the figures cover")
    test_samples: int = Field(
        gt=0, le=MAX_SAMPLES, description="how many the test split holds; samples < test_samples under --limit"
    )
    metric: str
    direction: Literal["up", "down"]
    score: float
    details: dict[str, float] = Field(
        default_factory=dict, description="the score in other units, or what is told beside it (Metric.details)"
    )
    rate: RateRecord
    given_bytes: int = Field(
        default=0,
        ge=0,
        description="sum over samples of what the tail is handed beside the decoded features, uncounted",
    )
    mse: float | None = Field(ge=0, description="over all elements of all tensors")
    tensors: dict[str, TensorRecord]
    batch_size: int = Field(gt=0)
    dtype: str = Field(description="compute dtype of the tail")
    device_type: str
    seed: int
    fidelity: FidelityRecord | None = Field(default=None, description="null where the model shows no responses")
    verification: VerificationRecord | None = Field(
        default=None, description="null in results of versions that did not verify"
    )

    @property
    def ref(self) -> str:
        """The scenario with its version, as its folder of results is named."""
        return f"{self.scenario}@{self.scenario_version}"

    @property
    def is_current(self) -> bool:
        """Whether it was made by this version's protocol; others are shown as such and compared with nothing."""
        return self.schema_version == SCHEMA_VERSION and self.protocol_version == PROTOCOL_VERSION

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides its figures; the config hash is made of this."""
        return {name: getattr(self, name) for name in HASHED_FIELDS} | {"fingerprint": self.codec.fingerprint}
