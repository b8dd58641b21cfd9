"""Reads results folders: every file is checked before a figure of it is used.

A result that is unfinished, damaged or contradicts itself is skipped, and a warning names its folder and the reason:
one bad folder must not hide a hundred good ones. Only a folder without a single usable result is an error.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from harness.report import unfinished
from harness.results.place import require_folder
from harness.results.record import DIVERGENCE, POSITIONS, RESPONSE_ENERGY, RESPONSE_ERROR, column, statistics_of
from harness.results.result import Result
from harness.results.scoring import read_figures
from harness.results.store import (
    ASKED,
    CODE_TOKEN,
    CODEC_DIRECTORY,
    FIT_FILE,
    RESULT_FILE,
    RUN_FILE,
    SAMPLES_FILE,
    TIMINGS_FILE,
    read_consistently,
)
from lamofcbench import rates
from lamofcbench.errors import ResultsError, broken_field
from lamofcbench.identity import is_anonymous
from lamofcbench.scenarios.base import NAME_PATTERN, Scenario

MAX_JSON_BYTES = 16 * 2**20

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """One result with what it was computed from.

    Attributes:
        folder: where it lies.
        written: when it was last asked for, in seconds, to tell old from new: as ``run.json`` says, or else when
            ``result.json`` was modified, which copying a folder may change.
        coded_bytes: ``[samples]``, and so are the next four.
        raw_bits: of the uncoded tensors in their stored dtypes.
        elements: feature points.
        encode_seconds: None where there are no timings.
        decode_seconds: None where there are no timings.
        index: the samples' positions in the test split.
        statistics: the metric's, each ``[samples]`` or ``[samples, values]``.
        squared_errors: of each tensor, each ``[samples]``; empty where the table has none, or one is not finite.
        divergence: of the responses, nats of logits or squared error of values, summed over a sample's positions; None
            where there is none that is finite.
        divergence_over: what its sum is divided by, positions or energies; None where the model shows no responses.
        run: ``run.json`` as it stands; empty where there is none.
        fitted_elsewhere: whether the codec came with its state, from a saved folder or an object, and not from this
            scenario's calibration samples; None where there is no state or no telling.
        label: what a report calls the codec, see `harness.report.origins`.
    """

    folder: Path
    written: float
    result: Result
    index: NDArray[np.int64]
    coded_bytes: Floats
    raw_bits: Floats
    elements: Floats
    statistics: dict[str, Floats]
    squared_errors: dict[str, Floats]
    encode_seconds: Floats | None
    decode_seconds: Floats | None
    run: dict[str, Any]
    divergence: Floats | None = None
    divergence_over: Floats | None = None
    fitted_elsewhere: bool | None = None
    label: str = ""

    @property
    def code(self) -> str:
        """Identifies the codec's code. One that nothing identifies is what it was in one process."""
        identity = self.result.codec.identity
        return f"{identity}~{self.run.get(CODE_TOKEN, '')}" if is_anonymous(identity) else identity


def read_results(
    results_dir: Path,
    declared: Mapping[str, Scenario] | None = None,
    objection: Callable[[Result], str] = lambda result: "",
) -> tuple[list[Evidence], list[str]]:
    """All usable results under a folder, in the order of their paths, and a warning for each that is not usable.

    Args:
        results_dir: the results folder.
        declared: scenarios from users' own files, by id; registered ones need not be given.
        objection: why a result is not to be read any further; empty where it is.

    Raises:
        ResultsError: if the folder is missing or holds no usable result.
    """
    require_folder(results_dir)
    evidence, warnings = [], []
    for folder in _result_folders(results_dir):
        try:
            if not (folder / RESULT_FILE).is_file():
                raise ResultsError(unfinished.advice(folder, declared or {}))
            evidence.append(read_consistently(folder, functools.partial(_read, folder, objection)))
        except ResultsError as error:
            warnings.append(f"skipped {folder.relative_to(results_dir)}: {error}")
    if not evidence:
        advice = f"; {warnings[0]}" if warnings else f"; `lamofcbench run --results {results_dir}` makes some"
        raise ResultsError(f"{results_dir} holds no usable result{advice}")
    return evidence, warnings


def _result_folders(results_dir: Path) -> Iterator[Path]:
    """Folders at the place of a result, three levels down; hidden ones and the report's own are no results."""
    for folder in sorted(results_dir.glob("*@*/*/*")):
        if folder.is_dir() and not any(part.startswith(".") for part in folder.relative_to(results_dir).parts):
            yield folder


def _read(folder: Path, objection: Callable[[Result], str]) -> Evidence:
    result = _read_result(folder)
    if reason := objection(result):
        raise ResultsError(reason)
    samples = _table(folder / SAMPLES_FILE, result.samples)
    index = _numbers(samples, "index").astype(np.int64)
    coded_bytes, raw_bits = _numbers(samples, "coded_bytes"), _numbers(samples, "raw_bits")
    if len(np.unique(index)) != len(index):
        raise ResultsError(f"{SAMPLES_FILE} holds a sample twice")
    if coded_bytes.sum() != result.rate.coded_bytes or raw_bits.sum() != result.rate.raw_bits:
        raise ResultsError(f"{SAMPLES_FILE} and {RESULT_FILE} disagree on the coded bytes")
    if (coded_bytes <= 0).any() or (raw_bits < 0).any():
        raise ResultsError(f"{SAMPLES_FILE} holds a sample of no coded bytes")
    with _damage(SAMPLES_FILE):
        statistics = {name: values.astype(np.float64) for name, values in statistics_of(samples).items()}
    encode_seconds, decode_seconds = _read_timings(folder / TIMINGS_FILE, index)
    run = _read_mapping(folder / RUN_FILE)
    divergence, divergence_over = _divergence(samples, result)
    return Evidence(
        folder=folder,
        written=_asked(run) or (folder / RESULT_FILE).stat().st_mtime,
        result=result,
        index=index,
        coded_bytes=coded_bytes,
        raw_bits=raw_bits,
        elements=_numbers(samples, "elements"),
        statistics=statistics,
        squared_errors=_squared_errors(samples, result),
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
        run=run,
        divergence=divergence,
        divergence_over=divergence_over,
        fitted_elsewhere=_fitted_elsewhere(folder / CODEC_DIRECTORY / FIT_FILE, result),
    )


def _squared_errors(samples: pa.Table, result: Result) -> dict[str, Floats]:
    """What the intervals of errors are drawn from; sums that contradict ``result.json`` are an error."""
    errors = {}
    for name, record in result.tensors.items():
        empty = not record.elements  # has no error, which is no error that is unknown
        if f"squared_error.{name}" not in samples.column_names or (record.mse is None and not empty):
            return {}
        values = _numbers(samples, f"squared_error.{name}")
        if not math.isclose(values.sum(), (record.mse or 0.0) * record.elements, rel_tol=1e-6, abs_tol=1e-300):
            raise ResultsError(f"{SAMPLES_FILE} and {RESULT_FILE} disagree on the error of tensor {name!r}")
        errors[name] = values
    return errors


def _divergence(samples: pa.Table, result: Result) -> tuple[Floats | None, Floats | None]:
    """What the intervals of the divergence are drawn from; sums that contradict ``result.json`` are an error."""
    stated = result.fidelity
    if stated is None:
        return None, None
    positions = _numbers(samples, POSITIONS)
    if positions.sum() != stated.positions or (positions < 0).any():
        raise ResultsError(f"{SAMPLES_FILE} and {RESULT_FILE} disagree on the positions of the responses")
    over = positions if stated.kind == "logits" else _numbers(samples, RESPONSE_ENERGY)
    if stated.figure is None:
        return None, over
    divergence = _numbers(samples, DIVERGENCE if stated.kind == "logits" else RESPONSE_ERROR)
    if not math.isclose(divergence.sum(), stated.figure * over.sum(), rel_tol=1e-6, abs_tol=1e-300):
        raise ResultsError(f"{SAMPLES_FILE} and {RESULT_FILE} disagree on the divergence of the responses")
    return divergence, over


def _read_result(folder: Path) -> Result:
    path = folder / RESULT_FILE
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ResultsError(f"{RESULT_FILE} is larger than {MAX_JSON_BYTES} bytes")
        result = Result.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ResultsError(f"{RESULT_FILE} breaks the schema: {broken_field(error, whole='')}") from error
    except OSError as error:
        raise ResultsError(f"{RESULT_FILE} cannot be read ({_first_line(error)})") from error
    if not re.fullmatch(NAME_PATTERN, result.scenario):
        raise ResultsError(f"{result.scenario!r} is no scenario name")
    place = (result.ref, result.config_hash)
    if (folder.parent.parent.name, folder.name) != place:
        raise ResultsError(f"{RESULT_FILE} belongs to {place[0]}/.../{place[1]}, not to this folder")
    if not result.codec.name.strip():
        raise ResultsError("the codec has no name")
    rate = result.rate
    if not rate.coded_bytes:
        raise ResultsError(f"{RESULT_FILE} states a rate of no bytes")
    for name, stated, due in (
        ("EBPFP", rate.ebpfp, rates.ebpfp(8 * rate.coded_bytes, rate.raw_bits)),
        ("BPFP", rate.bpfp, rates.bpfp(8 * rate.coded_bytes, rate.elements)),
    ):
        if not (math.isnan(due) if stated is None else math.isclose(stated, due, rel_tol=1e-9)):
            raise ResultsError(f"{RESULT_FILE} states a {name} that its own bytes contradict")
    return result


def _read_timings(path: Path, index: NDArray[np.int64]) -> tuple[Floats | None, Floats | None]:
    """Encode and decode seconds; none where the file is absent, because timings are a by-product of a result."""
    if not path.is_file():
        return None, None
    table = _table(path, len(index))
    if not np.array_equal(_numbers(table, "index"), index):
        raise ResultsError(f"{TIMINGS_FILE} covers other samples than {SAMPLES_FILE}")
    encode_seconds, decode_seconds = _numbers(table, "encode_seconds"), _numbers(table, "decode_seconds")
    if (encode_seconds < 0).any() or (decode_seconds < 0).any():
        raise ResultsError(f"{TIMINGS_FILE} holds negative seconds")
    return encode_seconds, decode_seconds


def _fitted_elsewhere(path: Path, result: Result) -> bool | None:
    unfitted = _read_mapping(path).get("unfitted_fingerprint")
    return None if unfitted is None or not result.codec.state_bytes else unfitted == result.codec.fingerprint


def _read_mapping(path: Path) -> dict[str, Any]:
    """``run.json`` or ``fit.json``, which only inform: what is wrong with one costs the information, not the result."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _asked(run: Mapping[str, Any]) -> float | None:
    """When a result was last asked for, in seconds; None where ``run.json`` does not say."""
    for name in (ASKED, "finished"):
        with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
            return datetime.fromisoformat(run[name]).timestamp()
    return None


def _table(path: Path, rows: int) -> pa.Table:
    with _damage(path.name):
        return read_figures(path, rows)


def _numbers(table: pa.Table, name: str) -> Floats:
    """A column of one finite number a sample."""
    if name not in table.column_names:
        raise ResultsError(f"column {name!r} is missing")
    with _damage(f"column {name!r}"):
        values = column(table, name).astype(np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ResultsError(f"column {name!r} does not hold one finite number a sample")
    return values


@contextlib.contextmanager
def _damage(what: str) -> Iterator[None]:
    """Turns whatever a parser raises on hostile bytes into the one error that skips the result."""
    try:
        yield
    except ResultsError:
        raise
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        raise ResultsError(f"{what} is damaged ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
