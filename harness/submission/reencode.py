"""Encoding again: whether the submitted bytes are what the submitted codec makes of the features.

Bytes that decode well may come from another encoder than the codec's, one that looked at references, say. So the drawn
batches are encoded anew, each from the seeds that it had in the run. An encoder that rounds otherwise on this machine
gives other bytes; size and distortion of all drawn samples together are then close, or it was another encoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.results.record import Record
from harness.results.store import SAMPLES_FILE
from harness.statistics.distortion import squared_errors
from harness.submission.agreement import energy_of, same_error
from harness.submission.recount import sample_of
from harness.submission.replay import Replay, load_afresh
from lamofcbench.errors import VerificationError
from lamofcbench.features import FeatureSet, check_features

SIZES, ERRORS = 0.02, 0.05
"""By which share sizes and squared errors of all drawn samples may differ."""
SIZE_BYTES = 4
"""And by how many bytes a sample."""
_QUANTISER = "quantiser_error."


def check_encoder(replay: Replay) -> None:
    """Encodes the drawn samples with the codec that the other process has loaded, and compares bytes.

    Args:
        replay: of a result whose bytes decode as recorded.
    """
    claim, findings = replay.claim, replay.findings
    other: list[tuple[int, bytes]] = []
    try:
        load_afresh(replay.decoder, claim, replay.share)  # or else it could give back the bytes that it has decoded
        for index, data in _encoded(replay):
            if data != replay.bitstreams.read(index):
                other.append((index, data))
        for index in replay.samples:
            _check_quantiser(replay, replay.rows[index])
        reason = _tell_others(replay, other)
    except VerificationError as error:
        findings.fault(claim.path, f"its codec does not encode test samples: {error}")
        return
    findings.count("samples encoded anew", len(replay.samples), len(replay.rows), reason)
    if not reason:
        findings.count("of these, to the very bytes", len(replay.samples) - len(other), len(replay.samples))


def _encoded(replay: Replay) -> list[tuple[int, bytes]]:
    """What the codec makes of the drawn samples, batch by batch."""
    found = []
    size, before = replay.opened.scenario.batch_size, -1
    for index in replay.samples:
        features = replay.opened.test.features(index).with_given(None)
        number = index // size
        data = replay.decoder.encode(
            features,
            seconds=replay.share.decode_seconds,
            most_bytes=features.raw_bits // 2 + 2**16,
            seeds=None if number == before else (replay.claim.result.seed, number),
        )
        before = number
        found.append((index, data))
    return found


def _tell_others(replay: Replay, other: Sequence[tuple[int, bytes]]) -> str:
    """A fault where samples came out otherwise by more than rounding; a reason where by less; empty where none did."""
    if not other:
        return ""
    count = len(other)
    submitted = sum(replay.rows[index]["coded_bytes"] for index, _ in other)
    found = sum(len(data) for _, data in other)
    if abs(found - submitted) > SIZES * submitted + SIZE_BYTES * count:
        what = f"holds {submitted} bytes of {count} samples, of which its codec makes {found}"
        replay.findings.fault(replay.bitstreams.path, what, sample_of(replay.rows[other[0][0]]))
        return ""
    load_afresh(replay.decoder, replay.claim, replay.share)  # or else it could remember what it has encoded
    errors = [_errors(replay, index, data) for index, data in other]
    for name in errors[0]:
        stated = math.fsum(replay.rows[index][f"squared_error.{name}"] for index, _ in other)
        here = math.fsum(one[name] for one in errors)
        energy = math.fsum(energy_of(replay.opened.test.features(index), name) for index, _ in other)
        if abs(here - stated) > ERRORS * max(here, stated) and not same_error(here, stated, energy):
            what = f"tensor {name!r} of {count} samples has squared error {stated:.6g}; its codec makes it {here:.6g}"
            replay.findings.fault(replay.bitstreams.path, what, sample_of(replay.rows[other[0][0]]))
    return "some samples are encoded to other bytes here, close in size and distortion"


def _errors(replay: Replay, index: int, data: bytes) -> dict[str, float]:
    features = replay.opened.test.features(index)
    decoded = replay.decoder.decode(data, seconds=replay.share.decode_seconds, most_bytes=features.raw_bits // 8)
    check_features(decoded, replay.opened.scenario.specs)
    return squared_errors(features, decoded)


def _check_quantiser(replay: Replay, row: Record) -> None:
    """The quantiser's share of the errors, of codecs that tell."""
    stated = {name.removeprefix(_QUANTISER): value for name, value in row.items() if name.startswith(_QUANTISER)}
    if not stated:
        return
    features: FeatureSet = replay.opened.test.features(row["index"]).with_given(None)
    quantised = replay.decoder.quantised(
        features, seconds=replay.share.decode_seconds, most_bytes=features.raw_bits // 8
    )
    found = {} if quantised is None else squared_errors(features, quantised)
    for name, recorded in stated.items():
        if name not in found or not same_error(found[name], recorded, energy_of(features, name)):
            what = f"states {recorded} as the squared error of the quantiser on {name!r}; it is {found.get(name)}"
            replay.findings.fault(replay.claim.path.with_name(SAMPLES_FILE), what, sample_of(row))
