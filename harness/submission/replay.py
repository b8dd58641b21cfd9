"""Decoding and the tail again: whether the bytes give the features, and the features the predictions, that were scored.

Bytes are decoded in another process, from the saved codec alone. Decoded features then go through the very pipeline of
a run, with the submitted bytes in place of an encoder, and what comes out is compared with the submitted table.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.results.record import DIGEST, Record
from harness.results.store import RUN_FILE, SAMPLES_FILE
from harness.running import environment
from harness.running.pipeline import Pipeline
from harness.running.plan import Batch, batch_plan
from harness.running.runner import ScenarioRunner
from harness.statistics.distortion import squared_errors
from harness.submission.agreement import RESPONSES, same_cell, same_error, same_response
from harness.submission.bitstreams import Bitstreams
from harness.submission.claims import Claim
from harness.submission.findings import Findings
from harness.submission.recount import processor_of, sample_of
from lamofcbench.codecs.knowledge import CLASSES
from lamofcbench.codecs.registry import CODECS
from lamofcbench.codecs.saving import CONFIG_FILE, read_config
from lamofcbench.digests import digest
from lamofcbench.errors import LaMoFCBenchError, VerificationError
from lamofcbench.features import FeatureSet, check_features

if TYPE_CHECKING:
    from harness.running.decoding_process import DecodingProcess

MOST_FLIPS = 0.02
"""The share of a result's predictions that may come out otherwise on another processor, whose sums round otherwise.

Such a result is consistent at most; on the processor that ``run.json`` names, none may.
"""


@dataclass(frozen=True)
class Share:
    """What of each result is decoded and predicted anew.

    Attributes:
        of_batches: between 0 and 1; one batch at least.
        seed: draws them, unknown to who submits.
        decode_seconds: for one sample.
        trust_code: run a codec's own source.
    """

    of_batches: float
    seed: int
    decode_seconds: float = 300.0
    trust_code: bool = False

    def drawn(self, place: str, batches: Sequence[Batch]) -> list[Batch]:
        """The batches of a result."""
        count = min(len(batches), max(1, round(self.of_batches * len(batches))))
        ranks = [hashlib.sha256(f"{self.seed} {place} {batch.number}".encode()).digest() for batch in batches]
        return sorted(batch for _, batch in sorted(zip(ranks, batches, strict=True))[:count])


def load(claim: Claim, decoder: DecodingProcess, share: Share, findings: Findings) -> bool:
    """Loads a result's codec in the other process.

    Returns:
        Whether it may decode: it is as stated, and installed here or trusted.
    """
    folder = claim.folder.codec_path
    config = read_config(folder)
    reason = ""
    if config["codec_source"] is not None:
        reason = "" if share.trust_code else "the codec's own source is run with --trust-code alone"
    elif config["codec"] not in CODECS.names():
        reason = f"codec {config['codec']} is not installed here"
    findings.count("codecs loaded in another process", 0 if reason else 1, 1, reason)
    if reason:
        return False
    path = folder / CONFIG_FILE
    try:
        found = decoder.load(folder, trust_code=share.trust_code, threads=claim.threads)
    except VerificationError as error:
        findings.fault(path, str(error))
        return False
    result = claim.result
    if found != result.codec.fingerprint:
        findings.fault(path, f"has fingerprint {found}; the result states {result.codec.fingerprint}")
    learned = str(decoder.facts.get("trained_on"))
    if learned not in CLASSES or CLASSES.index(result.codec.trained_on) < CLASSES.index(learned):
        findings.fault(claim.path, f"states that it learned from {result.codec.trained_on!r}; it is {learned!r}")
    if result.codec.lossless != decoder.facts.get("lossless"):
        findings.fault(claim.path, f"states lossless {result.codec.lossless}; the codec says otherwise")
    return not findings.are_about(claim.folder.path)


def replay(
    claim: Claim,
    rows: Sequence[Record],
    bitstreams: Bitstreams,
    runner: ScenarioRunner,
    decoder: DecodingProcess,
    share: Share,
    findings: Findings,
) -> None:
    """Decodes the drawn batches of a result and runs the tail on them."""
    batches = batch_plan(len(rows), runner.scenario.batch_size)
    drawn = share.drawn(claim.place, batches)
    wanted = {index for batch in drawn for index in range(batch.start, batch.stop)}
    shown = set(bitstreams.shown)
    if not bitstreams.are_whole:
        wanted = shown
    decoded: dict[int, FeatureSet] = {}
    identical = 0
    for index in sorted(wanted):
        features = _decoded(claim, rows[index], bitstreams, runner, decoder, share, findings)
        if features is not None:
            decoded[index] = features
            identical += rows[index].get(DIGEST) == digest(features)
    reason = "" if bitstreams.are_whole else "bitstreams are sampled"
    findings.count("samples decoded anew", len(decoded), len(rows), reason)
    findings.count("of these, decoded to the very bits that were scored", identical, len(decoded))
    whole = [batch for batch in drawn if all(index in decoded for index in range(batch.start, batch.stop))]
    if not findings.are_about(claim.folder.path):
        _predict(claim, rows, whole, decoded, bitstreams, runner, findings)


def _decoded(
    claim: Claim,
    row: Record,
    bitstreams: Bitstreams,
    runner: ScenarioRunner,
    decoder: DecodingProcess,
    share: Share,
    findings: Findings,
) -> FeatureSet | None:
    """What a sample's bytes decode to; None where that is not what was recorded."""
    original = runner.test.features(row["index"])
    most_bytes = original.raw_bits // 8
    try:
        data = bitstreams.read(row["index"])
        features = decoder.decode(data, seconds=share.decode_seconds, most_bytes=most_bytes)
        check_features(features, runner.scenario.specs)
        errors = squared_errors(original, features)
    except (LaMoFCBenchError, ValueError) as error:
        findings.fault(bitstreams.path, f"does not decode: {error}", sample_of(row))
        if isinstance(error, VerificationError) and not decoder.is_running:
            _load_again(claim, decoder, share)
        return None
    if row[DIGEST] == digest(features):
        return features
    for name, found in errors.items():
        energy = float(original[name].double().square().sum())
        recorded = row.get(f"squared_error.{name}")
        if not same_error(found, recorded, energy):
            findings.fault(
                bitstreams.path,
                f"tensor {name!r} decodes to squared error {found:.6g}, recorded as {recorded}",
                sample_of(row),
            )
            return None
    return features


def _load_again(claim: Claim, decoder: DecodingProcess, share: Share) -> None:
    """After a codec has ended the process, so that the next sample has one."""
    decoder.load(claim.folder.codec_path, trust_code=share.trust_code, threads=claim.threads)


class _Submitted:
    """The submitted bytes in place of an encoder, in the order in which samples are asked for."""

    def __init__(self, name: str, contents: Iterator[bytes]) -> None:
        self.name, self._contents = name, contents

    def encode(self, features: FeatureSet, /) -> bytes:
        """The next sample's bytes."""
        return next(self._contents)

    def payload_bytes(self, data: bytes, /) -> None:
        """Recounted already, see `harness.submission.recount`."""

    def quantised(self, features: FeatureSet, /) -> None:
        """Only the codec itself could tell."""


class _Decoded:
    """What was decoded in another process, in the order in which samples are asked for."""

    def __init__(self, name: str, features: Iterator[FeatureSet]) -> None:
        self.name, self._features = name, features

    def decode(self, data: bytes, /) -> FeatureSet:
        """The next sample's features."""
        return next(self._features)


def _predict(
    claim: Claim,
    rows: Sequence[Record],
    batches: Sequence[Batch],
    decoded: Mapping[int, FeatureSet],
    bitstreams: Bitstreams,
    runner: ScenarioRunner,
    findings: Findings,
) -> None:
    """Runs the tail on whole batches and compares what comes out with the table."""
    pipeline = Pipeline(
        runner.scenario,
        runner.test,
        runner.model,
        runner.metric,
        _Submitted(claim.result.codec.name, iter(())),
        _Decoded(claim.result.codec.name, iter(())),
        runner.device,
        claim.result.seed,
        runner.fidelity,
    )
    path, checked, flipped = claim.folder.path / SAMPLES_FILE, 0, list[Record]()
    with environment.pinned_threads(claim.threads):
        for batch in batches:
            indices = range(batch.start, batch.stop)
            fed = dataclasses.replace(
                pipeline,
                encoder=_Submitted(claim.result.codec.name, map(bitstreams.read, indices)),
                decoder=_Decoded(claim.result.codec.name, map(decoded.__getitem__, indices)),
            )
            try:
                found = fed.run(batch).records
            except LaMoFCBenchError as error:
                findings.fault(path, f"cannot be predicted: {error}", f"{batch.start} to {batch.stop - 1}")
                continue
            for index, record in zip(indices, found, strict=True):
                checked += 1
                if not same_cell(runner.scenario.prediction, record["prediction"], rows[index]["prediction"]):
                    flipped.append(rows[index])
                else:
                    _compare_responses(rows[index], record, claim, findings)
    reason = _tell_flipped(claim, flipped, checked, runner, findings)
    if not bitstreams.are_whole:
        reason = "bitstreams are sampled"
    findings.count("predictions made anew by the tail", checked, len(rows), reason)


def _compare_responses(row: Record, record: Record, claim: Claim, findings: Findings) -> None:
    """How far the responses are from those to uncoded features, beside what the table says."""
    for name in RESPONSES:
        if (name in row) != (name in record) or (name in row and not same_response(name, record[name], row[name])):
            what = f"states {name} {row.get(name)}; the tail gives {record.get(name)}"
            findings.fault(claim.folder.path / SAMPLES_FILE, what, sample_of(row))


def is_elsewhere(claim: Claim, runner: ScenarioRunner) -> bool:
    """Whether a result was made on another kind of device or processor than this machine's."""
    there = processor_of(claim.folder.path / RUN_FILE)
    kind = runner.device.partition(":")[0]
    return claim.result.device_type != kind or there != environment.device_name(runner.device)


def _tell_flipped(
    claim: Claim, flipped: Sequence[Record], checked: int, runner: ScenarioRunner, findings: Findings
) -> str:
    """Faults of predictions that come out otherwise; a reason where they may, as rounding differs."""
    if not flipped:
        return ""
    if is_elsewhere(claim, runner) and len(flipped) <= MOST_FLIPS * checked:
        return "some come out otherwise on another processor than the author's"
    for row in flipped:
        findings.fault(claim.folder.path / SAMPLES_FILE, "the tail predicts something else", sample_of(row))
    return ""
