"""Scores results again from their folders, and checks that the bytes decode to what was recorded.

Scoring needs no model and no features. A result that another version of the metric scored is told apart by the metric's
identity; writing it anew gives the very result, in the very folder, that a run with the present metric makes.

Decoding starts from the bytes and the saved codec alone, in another process. Its distortions are then compared with the
recorded ones, and its bits with those that were scored.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.metrics.base import Metric, metric_identity
from harness.results import scoring
from harness.results.record import (
    DIGEST,
    STATISTIC,
    Record,
    TableWriter,
    iterate_records,
    sample_schema,
    stack_statistics,
)
from harness.results.result import PROTOCOL_VERSION, Result, VerificationRecord
from harness.results.store import (
    RESULT_FILE,
    SAMPLES_FILE,
    ResultFolder,
    config_hash,
    link_tree,
    read_consistently,
)
from harness.statistics.distortion import squared_errors
from lamofcbench.atomic import remove_leftovers, replacing
from lamofcbench.digests import digest
from lamofcbench.errors import LaMoFCBenchError, ResultsError
from lamofcbench.features import FeatureSet, check_features
from lamofcbench.identity import JOINED
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.reader import SplitReader

STATISTIC_TOLERANCE = 1e-9
DECODE_SECONDS = 3600.0
"""For one sample; the run itself had all the time that it took."""
DISTORTION_TOLERANCE = 1e-6
"""Relative; another machine may compute the last bits otherwise."""


def rescore(folder: ResultFolder, scenario: Scenario, *, update: bool = False) -> Result:
    """The result, its score computed anew from stored predictions and references.

    Args:
        folder: a finished result.
        scenario: whose result it is.
        update: write statistics and score that differ from the recorded ones, instead of refusing them. Where the
            metric is another one than then, the result moves to the folder of its new ``config_hash``.

    Raises:
        OtherMetricError: if another version of the metric scored it, unless ``update``.
        ResultsError: naming the first sample whose statistics differ, unless ``update``.
    """
    if not update:
        return read_consistently(folder.path, lambda: _rescored(folder, scenario, update=False))
    place = folder.path.with_name(
        _by_present_metric(_read(folder, scenario), scoring.make_metric(scenario)).config_hash
    )
    with contextlib.ExitStack() as held:
        for path in sorted({folder.path, place}):  # in the same order whoever asks, or two could wait for each other
            held.enter_context(ResultFolder(path).locked(f"scoring {folder.path} again"))
        remove_leftovers(folder.path)  # there may be nothing left to write that would do so
        return _rescored(folder, scenario, update=True)


def _by_present_metric(result: Result, metric: Metric) -> Result:
    """The result as if the metric had scored it, whose identity is part of its hash."""
    renamed = result.model_copy(update={"metric_identity": metric_identity(metric)})
    return renamed.model_copy(update={"config_hash": config_hash(renamed.config)})


def _rescored(folder: ResultFolder, scenario: Scenario, *, update: bool) -> Result:
    result = _read(folder, scenario)
    metric = scoring.make_metric(scenario)
    renamed = _by_present_metric(result, metric)
    if renamed.metric_identity != result.metric_identity:
        place = folder.path.with_name(renamed.config_hash)
        if (place / RESULT_FILE).is_file():
            raise SupersededError(
                f"{folder.path} was scored by {result.metric_identity}; {place} has the scores of "
                f"{renamed.metric_identity}, so the older one can be removed"
            )
        if not update:
            raise OtherMetricError(
                f"{folder.path} was scored by {result.metric_identity}, the metric is now {renamed.metric_identity}; "
                "--update scores it again, and so does `run`, with all others"
            )
    fresh: list[Record] = []
    changed = ""
    for row in iterate_records(folder.path / SAMPLES_FILE):
        try:
            fresh.append(scoring.judge(metric, scenario, row["prediction"], row["reference"]))
        except (LaMoFCBenchError, KeyError, ValueError) as error:
            raise ResultsError(f"{_where(folder, row)} cannot be scored: {error}") from error
        if not changed and not same_statistics(row, fresh[-1]):
            changed = _where(folder, row)
    if len(fresh) != result.samples:
        raise ResultsError(
            f"{folder.path}: {SAMPLES_FILE} holds {len(fresh)} samples, {RESULT_FILE} says {result.samples}"
        )
    statistics = stack_statistics(fresh)
    score = scoring.score_of(metric, statistics)
    scored = renamed.model_copy(update={"score": score, "details": scoring.details_of(metric, statistics)})
    if renamed.metric_identity != result.metric_identity:
        return _move(folder, scenario, scored, fresh)
    if not changed and not math.isclose(score, result.score, rel_tol=STATISTIC_TOLERANCE, abs_tol=1e-12):
        changed = f"{folder.path}: {RESULT_FILE}"
    if not changed:
        return result
    if not update:
        raise ResultsError(f"{changed} scores otherwise now than recorded; --update writes the new scores")
    return _write(folder, scenario, scored, fresh)


class OtherMetricError(ResultsError):
    """A result that another version of the metric scored."""


class SupersededError(ResultsError):
    """A result that another version of the metric scored, and beside it the one of the present version."""


def _move(folder: ResultFolder, scenario: Scenario, result: Result, fresh: list[Record]) -> Result:
    """Writes the result into the folder of its own hash; the old one goes once the new one is whole."""
    place = folder.path.with_name(result.config_hash)
    with replacing(place) as temporary:
        link_tree(folder.path, temporary)
        copy = ResultFolder(temporary)
        copy.remove_journal()  # its lines hold the old statistics
        written = _write(copy, scenario, result, fresh)  # in place of what an unfinished run left there
    folder.discard()
    return written


def _write(folder: ResultFolder, scenario: Scenario, result: Result, fresh: list[Record]) -> Result:
    path = folder.path / SAMPLES_FILE
    with replacing(path) as temporary:
        schema = functools.partial(sample_schema, kind=scenario.prediction_kind)
        with TableWriter(temporary, schema) as writer:
            for row, statistics in zip(iterate_records(path), fresh, strict=True):
                kept = {name: value for name, value in row.items() if not name.startswith(STATISTIC)}
                writer.append(kept | statistics)
    folder.rewrite(result)
    return result


class Decoder(Protocol):
    """Decodes where there are a saved folder and bytes alone; `harness.running.decoding_process` has one."""

    def load(self, saved: Path, /, *, trust_code: bool, threads: int = 1) -> str:
        """Loads the codec that decodes from now on; its fingerprint in hex."""

    def decode(self, data: bytes, /, *, seconds: float, most_bytes: int) -> FeatureSet:
        """The features of a bitstream."""


@dataclass(frozen=True)
class Decoded:
    """What decoding all bitstreams anew came to.

    Attributes:
        samples: how many there are; all decode to the recorded distortions.
        identical: how many decode to the bits that were scored. Another machine may compute the last bits otherwise.
    """

    samples: int
    identical: int


def check_decoding(
    folder: ResultFolder, scenario: Scenario, test: SplitReader, decoder: Decoder, *, trust_code: bool = False
) -> Decoded:
    """Decodes every kept bitstream and compares sizes, distortions and bits with the recorded ones.

    Args:
        folder: a finished result whose bitstreams were kept.
        scenario: whose result it is.
        test: the original features.
        decoder: decodes.
        trust_code: allow the saved codec to run the Python source in the folder.

    Raises:
        ResultsError: naming the first sample that does not decode to what was recorded.
    """
    result = _read(folder, scenario)
    if test.data_revision != result.data_revision:
        raise ResultsError(f"{folder.path} was made of data revision {result.data_revision}, not {test.data_revision}")
    fingerprint = decoder.load(folder.codec_path, trust_code=trust_code, threads=folder.threads())
    if fingerprint != result.codec.fingerprint:
        raise ResultsError(f"{folder.codec_path} is not the codec of {RESULT_FILE}")
    identical = 0
    for row in iterate_records(folder.path / SAMPLES_FILE):
        where, file = _where(folder, row), folder.bitstream(row["index"])
        if not file.is_file():
            raise ResultsError(f"{where} has no {file.name}; bitstreams are kept by `run --bitstreams`")
        data = file.read_bytes()
        if len(data) != row["coded_bytes"]:
            raise ResultsError(f"{where} has a bitstream of {len(data)} bytes, recorded as {row['coded_bytes']}")
        original = test.features(row["index"])
        try:
            decoded = decoder.decode(data, seconds=DECODE_SECONDS, most_bytes=original.raw_bits // 8)
            check_features(decoded, scenario.specs)
            errors = squared_errors(original, decoded)
        except (LaMoFCBenchError, ValueError) as error:
            raise ResultsError(f"{where} does not decode: {error}") from error
        for name, found in errors.items():
            recorded = row.get(f"squared_error.{name}", math.nan)
            if not np.isclose(found, recorded, rtol=DISTORTION_TOLERANCE, atol=0, equal_nan=True):
                raise ResultsError(f"{where}: tensor {name!r} decodes to squared error {found}, recorded as {recorded}")
        identical += row.get(DIGEST) == digest(decoded)
    return Decoded(result.samples, identical)


def record_verification(folder: ResultFolder, scenario: Scenario, decoded: Decoded) -> None:
    """Writes into the result that all its samples were verified, where all decoded to the bits that were scored."""
    if decoded.identical == decoded.samples:
        verified = VerificationRecord(samples=decoded.samples)
        with folder.locked(f"noting that {folder.path} was verified"):
            result = _read(folder, scenario).model_copy(update={"verification": verified})
            folder.rewrite(result)


def _read(folder: ResultFolder, scenario: Scenario) -> Result:
    result = folder.read_result()
    if result is None:
        raise ResultsError(f"{folder.path} is unfinished; rerun what made it")
    if not result.is_current:
        raise ResultsError(
            f"{folder.path} was made by protocol {result.protocol_version}; this version has protocol "
            f"{PROTOCOL_VERSION}, so run it again, then remove it"
        )
    if result.scenario_digest != scenario.digest:
        given = result.metric_identity.partition(JOINED)[2]
        by_list = f", or scored by a list ({given}) that --metric-option names again" if given else ""
        raise ResultsError(
            f"{folder.path} was made when {scenario.id} was declared otherwise{by_list}; run it again, then remove it"
        )
    return result


def _where(folder: ResultFolder, row: Mapping[str, Any]) -> str:
    return f"{folder.path}: sample {row.get('index')} ({row.get('sample_id')})"


def same_statistics(row: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    """Whether a row of a table holds the statistics that were computed anew."""
    if {name for name in row if name.startswith(STATISTIC)} != set(fresh):
        return False
    for name, value in fresh.items():
        recorded, computed = np.ravel(row[name]), np.ravel(value)
        if recorded.shape != computed.shape:
            return False
        if not np.allclose(recorded, computed, rtol=STATISTIC_TOLERANCE, atol=0, equal_nan=True):
            return False
    return True
