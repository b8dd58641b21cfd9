"""Encoding again: whether the submitted bytes are what the submitted codec makes of the features.

Bytes that decode well may come from another encoder than the codec's, one that looked at references, say. So the drawn
batches are encoded anew, each from the seeds that it had in the run. On the author's processor, with the same packages,
the same bytes must come out. Elsewhere an encoder may round otherwise: size, distortion and what the tail makes of it
are then close, and no better than what is made here, or it was another encoder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.results.record import Record
from harness.results.store import SAMPLES_FILE
from harness.statistics.distortion import squared_errors
from harness.submission.agreement import energy_of, same_error
from harness.submission.bitstreams import most_coded_bytes
from harness.submission.recount import sample_of
from harness.submission.replay import Replay, is_elsewhere, load_afresh
from lamofcbench.errors import VerificationError
from lamofcbench.features import FeatureSet

SIZES, ERRORS, MOVED = 0.02, 0.05, 0.05
"""By which share sizes and squared errors of the samples that come out otherwise may differ; and how far these are from
those that are made here, in squares and as a share of the squared error of all drawn samples."""
SIZE_BYTES = 4
"""And by how many bytes in all."""
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
            most_bytes=most_coded_bytes(features),
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
    if not is_elsewhere(replay.claim, replay.opened):
        for index, data in other:
            what = f"holds other bytes than its codec makes on the same processor with the same packages ({len(data)})"
            replay.findings.fault(replay.bitstreams.path, what, sample_of(replay.rows[index]))
        return ""
    submitted = sum(replay.rows[index]["coded_bytes"] for index, _ in other)
    found = sum(len(data) for _, data in other)
    if abs(found - submitted) > SIZES * submitted + SIZE_BYTES:
        what = f"holds {submitted} bytes of {count} samples, of which its codec makes {found}"
        replay.findings.fault(replay.bitstreams.path, what, sample_of(replay.rows[other[0][0]]))
        return ""
    load_afresh(replay.decoder, replay.claim, replay.share)  # or else it could remember what it has encoded
    here = {index: replay.decoded_here(index, data) for index, data in other}
    there = {index: replay.decoded_here(index, replay.bitstreams.read(index)) for index in here}
    for name in (spec.name for spec in replay.opened.scenario.specs.tensors):
        _compare_errors(replay, name, here, there)
    replay.compare_predictions(here)
    return "some samples are encoded to other bytes here, close in size, distortion and predictions"


def _compare_errors(replay: Replay, name: str, here: Mapping[int, FeatureSet], there: Mapping[int, FeatureSet]) -> None:
    """Faults of a tensor whose error differs, or which was moved by more than rounding moves it."""
    test, column = replay.opened.test, f"squared_error.{name}"
    stated = math.fsum(replay.rows[index][column] for index in here)
    found = math.fsum(squared_errors(test.features(index), one)[name] for index, one in here.items())
    energy = math.fsum(energy_of(test.features(index), name) for index in here)
    moved = math.fsum(squared_errors(there[index], one)[name] for index, one in here.items())
    of_all = math.fsum(replay.rows[index][column] for index in replay.samples)
    what = ""
    if abs(found - stated) > ERRORS * max(found, stated) and not same_error(found, stated, energy):
        what = f"has squared error {stated:.6g}; its codec makes it {found:.6g}"
    elif moved > MOVED * of_all and not same_error(moved, 0.0, energy):
        what = f"is {moved:.6g} from what its codec makes, in squares, where the error of all drawn is {of_all:.6g}"
    if what:
        about = sample_of(replay.rows[next(iter(here))])
        replay.findings.fault(replay.bitstreams.path, f"tensor {name!r} of {len(here)} samples {what}", about)


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
