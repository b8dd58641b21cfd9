"""Decoding and the tail again: whether the bytes give the features, and the features the predictions, that were scored.

Bytes are decoded in another process, from the saved codec alone. Decoded features then go through the very pipeline of
a run, with the submitted bytes in place of an encoder, and what comes out is compared with the submitted table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.results.record import DIGEST, Record, stack_statistics
from harness.results.result import ANCHOR, FLOOR
from harness.results.store import SAMPLES_FILE
from harness.running import environment
from harness.running.opened import OpenScenario
from harness.running.pipeline import Pipeline
from harness.running.plan import Batch, batch_plan
from harness.statistics.distortion import squared_errors
from harness.submission.agreement import RESPONSES, energy_of, gains, same_cell, same_error, same_response
from harness.submission.at_hand import at_hand, require_memory
from harness.submission.bitstreams import Bitstreams
from harness.submission.claims import Claim
from harness.submission.findings import Findings
from harness.submission.given import GivenBytes, GivenFeatures
from harness.submission.recount import processor_of, sample_of
from lamofcbench.codecs.knowledge import CLASSES
from lamofcbench.codecs.registry import CODECS
from lamofcbench.codecs.saving import CONFIG_FILE, read_config
from lamofcbench.digests import digest
from lamofcbench.errors import LaMoFCBenchError, VerificationError
from lamofcbench.features import FeatureSet, check_features

if TYPE_CHECKING:
    from harness.running.decoding_process import DecodingProcess
    from lamofcbench.scenarios.base import FeatureSpecs

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
        fit_seconds: for what one codec learns.
        trust_code: run a codec's own source.
    """

    of_batches: float
    seed: int
    decode_seconds: float = 300.0
    fit_seconds: float = 3600.0
    trust_code: bool = False

    def drawn(self, claim: Claim, batches: Sequence[Batch]) -> list[Batch]:
        """The batches of a result, in their order; all of anchor and floor, on which every retention rests."""
        share = 1.0 if claim.result.codec.name in (ANCHOR, FLOOR) else self.of_batches
        count = min(len(batches), max(1, round(share * len(batches))))
        ranks = [rank(self.seed, claim.folder.place, batch.number) for batch in batches]
        return sorted(batch for _, batch in sorted(zip(ranks, batches, strict=True))[:count])


def rank(seed: int, *what: object) -> bytes:
    """A place in an order that only who knows the seed can tell."""
    return hashlib.sha256(" ".join(map(str, (seed, *what))).encode()).digest()


def load_into(decoder: DecodingProcess, claim: Claim, share: Share) -> str:
    """Loads a result's codec in the other process, whose start is nobody's fault but this machine's.

    Returns:
        Its fingerprint, in hex.

    Raises:
        VerificationError: if the codec does not load there.
    """
    with at_hand("the process that decodes does not start"):
        decoder.ready()
    return decoder.load(claim.folder.codec_path, trust_code=share.trust_code, threads=claim.threads)


def decoded_apart(
    decoder: DecodingProcess, data: bytes, original: FeatureSet, specs: FeatureSpecs, share: Share
) -> FeatureSet:
    """What bytes decode to in the other process, of at most the size of the features that they are of.

    Raises:
        VerificationError: if they do not decode.
        ScenarioError: if they decode to other tensors than these specs'.
    """
    features = decoder.decode(data, seconds=share.decode_seconds, most_bytes=original.raw_bits // 8)
    check_features(features, specs)
    return features


def load_afresh(decoder: DecodingProcess, claim: Claim, share: Share) -> None:
    """Loads a codec with its own source once more, in a process that knows nothing of what it has coded until now.

    Raises:
        VerificationError: if the codec does not load there.
    """
    if read_config(claim.folder.codec_path)["codec_source"] is not None:
        decoder.close()
        load_into(decoder, claim, share)


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
        found = load_into(decoder, claim, share)
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


class Replay:
    """The drawn batches of a result, decoded and predicted anew by a codec that the other process has loaded.

    Args:
        claim: the result.
        rows: of its table.
        bitstreams: its bytes.
        opened: of its scenario.
        decoder: the other process.
        share: what is drawn.
        findings: takes what is wrong.

    Attributes:
        samples: those whose bytes are decoded: of the drawn batches, or all that are shown where not all are.
        batches: whose predictions are made: the drawn ones, or all of which every sample is shown.
    """

    def __init__(
        self,
        claim: Claim,
        rows: Sequence[Record],
        bitstreams: Bitstreams,
        opened: OpenScenario,
        decoder: DecodingProcess,
        share: Share,
        findings: Findings,
    ) -> None:
        self.claim, self.rows, self.bitstreams, self.opened = claim, rows, bitstreams, opened
        self.decoder, self.share, self.findings = decoder, share, findings
        self._prediction_kind = opened.scenario.prediction_kind
        batches, self._not_whole = batch_plan(len(rows), opened.scenario.batch_size), ""
        if bitstreams.are_whole:
            self.batches = share.drawn(claim, batches)
            self.samples = [index for batch in self.batches for index in range(batch.start, batch.stop)]
        else:
            self.samples, here = bitstreams.shown, set(bitstreams.shown)
            self.batches = [batch for batch in batches if here.issuperset(range(batch.start, batch.stop))]
            self._not_whole = "bitstreams are sampled"

    def run(self) -> None:
        """Decodes, then runs the tail on what decoded well.

        Samples are decoded in an order that the seed draws: each bitstream is to decode alone, and a decoder that keeps
        what it has decoded, to add the next one to it, would do as well in the order of a run.
        """
        decoded: dict[int, FeatureSet] = {}
        place = self.claim.folder.place
        for index in sorted(self.samples, key=lambda index: rank(self.share.seed, place, "sample", index)):
            features = self._decoded(self.rows[index])
            if features is not None:
                decoded[index] = features
        identical = sum(self.rows[index][DIGEST] == digest(features) for index, features in decoded.items())
        self.findings.count("samples decoded anew", len(decoded), len(self.rows), self._not_whole)
        rounded = "" if identical == len(decoded) else "some decode to other bits than those that were scored"
        self.findings.count("of these, decoded to the very bits that were scored", identical, len(decoded), rounded)
        if not self.findings.are_about(self.claim.folder.path):
            self._predict(decoded)

    def _decoded(self, row: Record) -> FeatureSet | None:
        """What a sample's bytes decode to; None where that is not what was recorded."""
        original, path = self.opened.test.features(row["index"]), self.bitstreams.path
        try:
            features = self.decoded_here(row["index"], self.bitstreams.read(row["index"]))
            errors = squared_errors(original, features)
        except (LaMoFCBenchError, ValueError) as error:
            self.findings.fault(path, f"does not decode: {error}", sample_of(row))
            self._load_again()
            return None
        for name, found in errors.items():
            recorded = row.get(f"squared_error.{name}")
            if not same_error(found, recorded, energy_of(original, name)):
                what = f"tensor {name!r} decodes to squared error {found:.6g}, recorded as {recorded}"
                self.findings.fault(path, what, sample_of(row))
                return None
        return features

    def _load_again(self) -> None:
        """After a codec has ended the process, so that the next sample has one."""
        if not self.decoder.is_running:
            load_into(self.decoder, self.claim, self.share)

    def _predict(self, decoded: Mapping[int, FeatureSet]) -> None:
        """Runs the tail on whole batches and compares what comes out with the table."""
        flipped, stated, made = list[Record](), list[Record](), list[Record]()
        for row, record in self._predicted(self.batches, decoded):
            stated.append(row)
            made.append(record)
            if same_cell(self._prediction_kind, record["prediction"], row["prediction"]):
                self._compare_responses(row, record)
            else:
                flipped.append(row)
        otherwise = self._tell_otherwise(stated, made, len(flipped))
        reason = self._not_whole or self._tell_flipped(flipped, len(stated)) or otherwise
        self.findings.count("predictions made anew by the tail", len(stated), len(self.rows), reason)

    def decoded_here(self, index: int, data: bytes) -> FeatureSet:
        """What bytes of a sample decode to; errors are those of `decoded_apart`."""
        original = self.opened.test.features(index)
        return decoded_apart(self.decoder, data, original, self.opened.scenario.specs, self.share)

    def compare_predictions(self, here: Mapping[int, FeatureSet]) -> None:
        """Faults where what was submitted does better than what the codec makes here of the same samples.

        Args:
            here: of the samples whose bytes come out otherwise here, what they decode to.
        """
        batches = [batch for batch in self.batches if any(batch.start <= index < batch.stop for index in here)]
        others = {index for batch in batches for index in range(batch.start, batch.stop)} - here.keys()
        decoded = {**here, **{index: self.decoded_here(index, self.bitstreams.read(index)) for index in others}}
        pairs, kind = list(self._predicted(batches, decoded)), self._prediction_kind
        flipped = [row for row, one in pairs if not same_cell(kind, one["prediction"], row["prediction"])]
        is_discrete = kind in ("text", "label") or not isinstance(kind, str)
        if is_discrete and len(flipped) > MOST_FLIPS * len(self.samples):
            what = f"of {len(here)} samples that are encoded otherwise here, {len(flipped)} are predicted otherwise"
            self.findings.fault(self.bitstreams.path, what, sample_of(flipped[0]))
        self._tell_otherwise([row for row, _ in pairs], [one for _, one in pairs], len(flipped) if is_discrete else 0)

    def _predicted(
        self, batches: Sequence[Batch], decoded: Mapping[int, FeatureSet]
    ) -> Iterator[tuple[Record, Record]]:
        """Each row of the batches that are decoded whole, and what the tail makes of it; tells of those that fail."""
        path = self.claim.folder.path / SAMPLES_FILE
        whole = [batch for batch in batches if all(index in decoded for index in range(batch.start, batch.stop))]
        with environment.pinned_threads(self.claim.threads):
            for batch in whole:
                indices = range(batch.start, batch.stop)
                try:
                    found = self._pipeline(indices, decoded).run(batch).records
                except LaMoFCBenchError as error:
                    require_memory(error)
                    self.findings.fault(path, f"cannot be predicted: {error}", f"{batch.start} to {batch.stop - 1}")
                    continue
                yield from zip((self.rows[index] for index in indices), found, strict=True)

    def _pipeline(self, indices: Sequence[int], decoded: Mapping[int, FeatureSet]) -> Pipeline:
        """That of a run, with the submitted bytes in place of an encoder."""
        opened, name = self.opened, self.claim.result.codec.name
        return Pipeline(
            opened.scenario,
            opened.test,
            opened.model,
            opened.metric,
            GivenBytes(name, map(self.bitstreams.read, indices)),
            GivenFeatures(name, map(decoded.__getitem__, indices)),
            opened.device,
            self.claim.result.seed,
            opened.fidelity,
        )

    def _compare_responses(self, row: Record, record: Record) -> None:
        """How far the responses are from those to uncoded features, beside what the table says."""
        for name in RESPONSES:
            if (name in row) != (name in record) or (name in row and not same_response(name, record[name], row[name])):
                what = f"states {name} {row.get(name)}; the tail gives {record.get(name)}"
                self.findings.fault(self.claim.folder.path / SAMPLES_FILE, what, sample_of(row))

    def _tell_flipped(self, flipped: Sequence[Record], checked: int) -> str:
        """Faults of predictions that come out otherwise; a reason where they may, as rounding differs."""
        if not flipped:
            return ""
        if is_elsewhere(self.claim, self.opened) and len(flipped) <= MOST_FLIPS * checked:
            return "some come out otherwise on another processor than the author's, or with other packages"
        for row in flipped:
            what = "the tail predicts something else"
            self.findings.fault(self.claim.folder.path / SAMPLES_FILE, what, sample_of(row))
        return ""

    def _tell_otherwise(self, stated: Sequence[Record], made: Sequence[Record], flipped: int) -> str:
        """A fault where what was submitted scores better than the tail's predictions: rounding has no direction.

        Returns:
            A reason where predictions are not the very same, however little they differ: what was scored is then not
            what the tail gives.
        """
        if all(row["prediction"] == record["prediction"] for row, record in zip(stated, made, strict=True)):
            return ""
        metric = self.opened.metric
        submitted, found = (float(metric.score(stack_statistics(part))) for part in (stated, made))
        low, high = metric.range
        gain = (submitted - found if metric.direction == "up" else found - submitted) / (high - low)
        if gains(gain, flipped, len(made)):
            what = f"scores {submitted:.6g} on {len(made)} samples drawn; the tail's predictions score {found:.6g}"
            self.findings.fault(self.claim.folder.path / SAMPLES_FILE, what)
        return "some are the same up to rounding alone"


def is_elsewhere(claim: Claim, opened: OpenScenario) -> bool:
    """Whether a result was made on another kind of device or processor than this machine's, or with other packages.

    Coders of images and sums of floats are those of packages, and differ from version to version.
    """
    there = claim.result.device_type, processor_of(claim.folder), claim.folder.run_record().get("packages")
    kind, name = opened.device.partition(":")[0], environment.device_name(opened.device)
    return there != (kind, name, environment.packages())
