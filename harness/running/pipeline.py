"""One batch through the benchmark: encode, decode, tail, score. Nothing here knows of files or processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from harness.metrics.base import Metric
from harness.metrics.predictions import encode_prediction
from harness.results.record import DIGEST, Record
from harness.results.scoring import judge
from harness.running import environment
from harness.running.fidelity import Fidelity
from harness.running.plan import Batch
from harness.running.verification import Evidence, evidence_of
from harness.statistics.distortion import squared_errors
from lamofcbench.digests import combined
from lamofcbench.errors import LaMoFCBenchError, NonFiniteError, PluginError
from lamofcbench.features import FeatureSet, equal_bits
from lamofcbench.references import check_reference
from lamofcbench.scenarios.base import Scenario


class Split(Protocol):
    """What the pipeline asks of a split of a dataset; `lamofcbench.storage.open_split` returns one."""

    @property
    def data_revision(self) -> str:
        """Identifies the data."""

    def __len__(self) -> int: ...

    def features(self, index: int, /) -> FeatureSet:
        """The stored features of a sample."""

    def sample_id(self, index: int, /) -> str:
        """The dataset's id of a sample."""

    def reference(self, index: int, /) -> Any:
        """What a prediction is compared with."""


class Tail(Protocol):
    """What the pipeline asks of a split model."""

    def tail(self, batch: Sequence[FeatureSet], /) -> list[Any]:
        """A prediction for each feature set."""


class Encoder(Protocol):
    """What the pipeline asks of what encodes; a `Codec` is one."""

    @property
    def name(self) -> str:
        """Of the codec."""

    def encode(self, features: FeatureSet, /) -> bytes:
        """One complete bitstream."""

    def payload_bytes(self, data: bytes, /) -> dict[str, int] | None:
        """The size of each tensor's section; None where there are none."""

    def quantised(self, features: FeatureSet, /) -> FeatureSet | None:
        """The features after the quantiser alone; None where nobody can tell."""


class Decoder(Protocol):
    """What the pipeline asks of what decodes; a `Codec` is one."""

    @property
    def name(self) -> str:
        """Of the codec."""

    def decode(self, data: bytes, /) -> FeatureSet:
        """The features of one bitstream."""


@dataclass(frozen=True)
class BatchOutcome:
    """What a batch came to.

    Attributes:
        records: a row of ``samples.parquet`` for each sample.
        timings: a row of ``timings.parquet`` for each sample.
        bitstreams: the coded bytes of each sample.
        evidence: of the decoded features of each sample; see `harness.running.verification.evidence_of`.
    """

    records: list[Record]
    timings: list[Record]
    bitstreams: list[bytes]
    evidence: list[Evidence]

    def rows(self) -> Iterator[tuple[Record, Record]]:
        """Each sample's record and timing."""
        return zip(self.records, self.timings, strict=True)


@dataclass(frozen=True)
class Pipeline:
    """All stages after the front, for one codec on one scenario.

    Attributes:
        encoder: loaded from the saved folder.
        decoder: loaded from the saved folder once more, so that nothing but bytes gets from encoder to decoder.
        fidelity: compares the model's responses; None where it shows none.
    """

    scenario: Scenario
    split: Split
    model: Tail
    metric: Metric
    encoder: Encoder
    decoder: Decoder
    device: str
    seed: int
    fidelity: Fidelity | None = None

    def run(self, batch: Batch) -> BatchOutcome:
        """Computes one batch.

        Raises:
            LaMoFCBenchError: naming the sample, where codec, tail or data fail.
        """
        indices = range(batch.start, batch.stop)
        stored = [self.split.features(index) for index in indices]
        originals = [features.with_given(None) for features in stored]  # all that a codec may see
        environment.seed_everything(self.seed, batch.number)
        bitstreams, encode_seconds = self._each(self.encoder.encode, self._lent(originals, batch), batch, "encode")
        decoded, decode_seconds = self._each(self.decoder.decode, bitstreams, batch, "decode")
        # Before the tail, which fails on NaN less clearly, and could write to what it gets.
        errors = [self._squared_errors(index, originals[at], decoded[at]) for at, index in enumerate(indices)]
        evidence = [evidence_of(features) for features in decoded]
        environment.seed_everything(self.seed, batch.number)  # a codec that draws does not change what the tail draws
        handed = [codec_output.with_given(one.given) for codec_output, one in zip(decoded, stored, strict=True)]
        predictions, faithful, tail_seconds = self._tail(stored, handed, batch)
        rows, timings = [], []
        for at, index in enumerate(indices):
            started = time.perf_counter()
            judged = self._score(index, predictions[at])
            score_seconds = time.perf_counter() - started
            record = self._record(index, originals[at], bitstreams[at], errors[at], evidence[at])
            if self.scenario.given:
                record["given_bytes"] = stored[at].given_bytes
            rows.append(record | faithful[at] | judged)
            seconds = (encode_seconds[at], decode_seconds[at], tail_seconds / len(indices), score_seconds)
            names = ("encode_seconds", "decode_seconds", "tail_seconds", "score_seconds")
            timings.append({"index": index, **dict(zip(names, seconds, strict=True))})
        return BatchOutcome(rows, timings, bitstreams, evidence)

    def _lent(self, originals: Sequence[FeatureSet], batch: Batch) -> Iterator[FeatureSet]:
        """A copy of each feature set, to be encoded.

        The originals are views of files that all codecs of the run read, and what decoded features are compared with.

        Raises:
            PluginError: naming a tensor that was written to; another caller would lose its features.
        """
        for at, original in enumerate(originals):
            copy = original.clone()
            yield copy
            for name, tensor in original.tensors.items():
                if not equal_bits(copy[name], tensor):
                    raise PluginError(
                        f"{self._where(batch.start + at)}: codec {self.encoder.name!r} changes tensor {name!r} as it "
                        "encodes; write to a clone of it"
                    )

    def _each(
        self, stage: Callable[[Any], Any], inputs: Iterable[Any], batch: Batch, name: str
    ) -> tuple[list[Any], list[float]]:
        """Runs encode or decode on each sample; the results and their seconds."""
        results, seconds = [], []
        for at, value in enumerate(inputs):
            environment.synchronise(self.device)
            started = time.perf_counter()
            try:
                result = stage(value)
            except LaMoFCBenchError as error:
                raise error.located(self._where(batch.start + at)) from error
            except Exception as error:
                raise PluginError(
                    f"{self._where(batch.start + at)}: codec {self.encoder.name!r} fails to {name}: "
                    f"{type(error).__name__}: {error}"
                ) from error
            environment.synchronise(self.device)
            seconds.append(time.perf_counter() - started)
            results.append(result)
        return results, seconds

    @torch.no_grad()
    def _tail(
        self, stored: list[FeatureSet], decoded: list[FeatureSet], batch: Batch
    ) -> tuple[list[Any], list[Record], float]:
        """Predictions, what is recorded of the responses, and the seconds for both."""
        environment.synchronise(self.device)
        started = time.perf_counter()
        faithful: list[Record] = [{} for _ in decoded]
        try:
            if self.fidelity is None:
                predictions = list(self.model.tail(decoded))
            else:
                predictions, faithful = self.fidelity.tail(batch.number, stored, decoded)
        except LaMoFCBenchError:
            raise
        except Exception as error:
            raise PluginError(
                f"the tail of {self.scenario.id} fails on samples {batch.start} to {batch.stop - 1}: "
                f"{type(error).__name__}: {error}"
            ) from error
        environment.synchronise(self.device)
        seconds = time.perf_counter() - started
        if len(predictions) != len(decoded):
            raise PluginError(
                f"the tail of {self.scenario.id} made {len(predictions)} predictions of {len(decoded)} samples"
            )
        return predictions, faithful, seconds

    def _squared_errors(self, index: int, original: FeatureSet, decoded: FeatureSet) -> dict[str, float]:
        """Each tensor's squared error.

        Raises:
            NonFiniteError: if a tensor is decoded to NaN or infinity where it was finite.
        """
        errors = squared_errors(original, decoded)
        for name in [name for name, error in errors.items() if not math.isfinite(error)]:
            lost = int((torch.isfinite(original[name]) & ~torch.isfinite(decoded[name])).sum())
            if lost:
                raise NonFiniteError(
                    f"{self._where(index)}: codec {self.decoder.name!r} decodes {lost} of {original[name].numel()} "
                    f"values of tensor {name!r} to NaN or infinity where the original is finite"
                )
        return errors

    def _record(
        self, index: int, original: FeatureSet, bitstream: bytes, errors: Mapping[str, float], evidence: Evidence
    ) -> Record:
        payload = self.encoder.payload_bytes(bitstream)
        return {
            "index": index,
            "sample_id": str(self.split.sample_id(index)),
            "coded_bytes": len(bitstream),
            "elements": original.elements,
            "raw_bits": original.raw_bits,
            DIGEST: combined(**evidence),
            **{f"squared_error.{name}": error for name, error in errors.items()},
            **{f"quantiser_error.{name}": error for name, error in self._quantiser_errors(index, original).items()},
            **{f"elements.{name}": tensor.numel() for name, tensor in original.tensors.items()},
            **{f"payload_bytes.{name}": size for name, size in (payload or {}).items()},
        }

    def _quantiser_errors(self, index: int, original: FeatureSet) -> dict[str, float]:
        """The quantiser's share of the squared errors; empty for a codec that cannot tell."""
        try:
            quantised = self.encoder.quantised(original.clone())
            return {} if quantised is None else squared_errors(original, quantised)
        except LaMoFCBenchError as error:
            raise error.located(self._where(index)) from error
        except Exception as error:
            raise PluginError(
                f"{self._where(index)}: codec {self.encoder.name!r} fails to quantise: {type(error).__name__}: {error}"
            ) from error

    def _score(self, index: int, prediction: Any) -> Record:
        """Prediction and reference as they are stored, and the statistics of just that."""
        kind = self.metric.compares or self.scenario.prediction_kind
        try:
            cell = encode_prediction(kind, prediction)
            reference = check_reference(kind, self.split.reference(index))
            statistics = judge(self.metric, self.scenario, cell, reference)
        except LaMoFCBenchError as error:
            raise error.located(self._where(index)) from error
        except Exception as error:
            raise PluginError(
                f"{self._where(index)}: metric {self.metric.name!r} fails: {type(error).__name__}: {error}"
            ) from error
        return {"prediction": cell, "reference": reference, **statistics}

    def _where(self, index: int) -> str:
        return f"{self.scenario.id} sample {index} ({self.split.sample_id(index)})"
