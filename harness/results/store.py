"""The results folder of one configuration: where things lie, what is finished, and how a run becomes files.

``results/<scenario>@<version>/<codec>/<config hash>/`` is laid out in `harness.results.result`. Beside the files named
there, ``codec/fit.json`` says what the codec was fitted on, so that a later run finds it again. An unfinished run has
``journal/``, what it has computed so far, and ``config.json``, what its hash is made of. ``results/.locks/`` has a lock
for each folder; who writes to one holds it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.results.hashes import RUN_FILE, hashes_of, json_sha256, recorded, sealed
from harness.results.journal import Journal, JournalEntry, in_batch_order
from harness.results.place import require_no_file
from harness.results.record import TIMING_SCHEMA, TableWriter, from_json, sample_schema
from harness.results.result import Result
from lamofcbench.atomic import remove, replacing, write_errors, write_json
from lamofcbench.errors import ResultsError, broken_field
from lamofcbench.locks import LOCKS_DIRECTORY, locked, locked_if_free
from lamofcbench.prediction_kinds import PredictionKind
from lamofcbench.scenarios.base import PredictionType

RESULT_FILE = "result.json"
SAMPLES_FILE = "samples.parquet"
TIMINGS_FILE = "timings.parquet"
CODEC_DIRECTORY = "codec"
BITSTREAM_DIRECTORY = "bitstreams"
JOURNAL_DIRECTORY = "journal"
FIT_FILE = "fit.json"
CONFIG_FILE = "config.json"

T = TypeVar("T")

ASKED = "asked"
"""In ``run.json``: when a run last asked for the result, by which a report tells new code from old."""
LADDER = "ladder"
"""In ``run.json``: by what the rate point was chosen, see `harness.running.ladder.chosen_by`."""
OWN_LADDER, NAMED = "the codec's own", "named"
"""How ``run.json`` and a submission call what rate points were chosen by, where that was no ladder file."""
LADDER_POINTS = "ladder_points"
"""In ``run.json``: how many rate points the codec's own ladder has, of a result whose point is one of them."""
CODE_TOKEN = "code_token"
"""In ``run.json``, of a codec that nothing identifies: the same for the results of one class in one process."""


def config_hash(config: Mapping[str, Any]) -> str:
    """The folder name of a configuration: 16 hex digits over everything that decides its figures."""
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()[:16]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def codec_directory(results: Path, scenario_ref: str, codec_name: str) -> Path:
    """The folder that holds all results of a codec on a scenario."""
    return results / scenario_ref / re.sub(r"[^\w.-]+", "-", codec_name)


def lock_file(results: Path, *parts: str) -> Path:
    """The lock on a part of a results folder, named by its relative path."""
    return results.joinpath(LOCKS_DIRECTORY, *parts[:-1], f"{parts[-1]}.lock")


def link_tree(source: Path, target: Path) -> None:
    """A copy of a folder whose files are the same until one is replaced; real copies where there are no links."""

    def link(file: str, copy: str) -> None:
        try:
            os.link(file, copy)
        except OSError:
            shutil.copy2(file, copy)

    shutil.copytree(source, target, copy_function=link)


class ResultFolder:
    """One configuration's folder, finished, unfinished or not yet there.

    Args:
        path: ends in the config hash.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path / JOURNAL_DIRECTORY, path.name)

    @property
    def _lock_file(self) -> Path:
        results = self.path.parents[2]
        return lock_file(results, *self.path.relative_to(results).parts)

    def locked(self, doing: str) -> AbstractContextManager[bool]:
        """The lock on this folder, for everything that writes into it; see `lamofcbench.locks.locked`."""
        return locked(self._lock_file, doing)

    @property
    def place(self) -> str:
        """Its path within the results, ``<scenario>@<version>/<codec>/<config hash>``."""
        return "/".join(self.path.parts[-3:])

    @property
    def codec_path(self) -> Path:
        """The saved codec."""
        return self.path / CODEC_DIRECTORY

    def read_result(self) -> Result | None:
        """What ``result.json`` says; None where the run is unfinished.

        Raises:
            ResultsError: if the file is damaged or belongs elsewhere.
        """
        file = self.path / RESULT_FILE
        if not file.is_file():
            return None
        try:
            result = Result.model_validate_json(file.read_bytes())
        except ValidationError as error:
            raise ResultsError(f"{file} breaks the result schema: {broken_field(error)}") from error
        if result.config_hash != self.path.name:
            raise ResultsError(f"{file} is the result of {result.config_hash}, not of the folder it is in")
        return result

    def begin(self, config: Mapping[str, Any]) -> None:
        """Notes what an unfinished folder is of, so that a report can tell whether a run will ever complete it.

        A run that goes on leaves the note as it is: it also says since when there may be something encoded.
        """
        if self.begun_as() != config:
            write_json(self.path / CONFIG_FILE, config)

    def begun_seconds(self) -> float | None:
        """When `begin` made its note, in seconds since the epoch; None where there is none."""
        try:
            return (self.path / CONFIG_FILE).stat().st_mtime
        except OSError:
            return None

    def begun_as(self) -> dict[str, Any] | None:
        """What `begin` noted; None where there is no such note of this folder."""
        try:
            config = json.loads((self.path / CONFIG_FILE).read_bytes())
            return config if config_hash(config) == self.path.name else None
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    def ask(self, when: str, ladder: str | None = None) -> None:
        """Notes in ``run.json`` that a run has asked for the finished result again, where that can be written.

        Whoever is writing there at the moment notes a time of its own.

        Args:
            when: ISO 8601, see `ASKED`.
            ladder: the calibrated one that holds the point; None where none does, which leaves the note of before.
        """
        with (
            contextlib.suppress(OSError, ValueError, RecursionError),
            locked_if_free(self._lock_file, f"noting that {self.path} was asked for") as is_held,
        ):
            run = json.loads((self.path / RUN_FILE).read_bytes())
            if is_held and isinstance(run, dict):
                hashes = recorded(run)
                noted = run | {ASKED: when} | ({} if ladder is None else {LADDER: ladder})
                write_json(self.path / RUN_FILE, noted if hashes is None else sealed(noted, hashes))

    def run_record(self) -> dict[str, Any]:
        """What ``run.json`` says; nothing where it is none."""
        try:
            run = json.loads((self.path / RUN_FILE).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return run if isinstance(run, dict) else {}

    def threads(self) -> int:
        """How many threads torch had in the run, as far as ``run.json`` says so."""
        try:
            return max(1, int(self.run_record()["threads"]))
        except (ValueError, OverflowError, KeyError, TypeError):  # 1e999 is JSON's infinity
            return 1

    def discard(self) -> None:
        """Removes everything, the mark of completion first."""
        (self.path / RESULT_FILE).unlink(missing_ok=True)
        remove(self.path)

    def write_bitstream(self, index: int, data: bytes) -> None:
        """Keeps the bytes of a sample, written before the journal line that vouches for them.

        The folder must be there. Resume trusts the journal and checks the size, so a torn file is written again.
        """
        _write_piece(self.bitstream(index), data)

    def bitstream(self, index: int) -> Path:
        """The file of a sample's bytes, if it was kept."""
        return self.path / BITSTREAM_DIRECTORY / f"{index}.bin"

    def write_candidate(self, index: int, data: bytes) -> None:
        """Keeps the bytes of a sample as long as the journal, which must be there: they may be wanted to verify it."""
        _write_piece(self._candidate(index), data)

    def _candidate(self, index: int) -> Path:
        return self.journal.directory / f"{index}.bin"

    def coded(self, index: int) -> bytes:
        """The bytes of a sample, kept for good or as long as the journal.

        Raises:
            ResultsError: if they are gone.
        """
        for file in (self.bitstream(index), self._candidate(index)):
            if file.is_file():
                return file.read_bytes()
        raise ResultsError(f"{self.path} lost the bytes of sample {index} while it was in use; rerun the same command")

    def computed(
        self, batch_size: int, *, with_bitstreams: bool, drawn: Collection[int] = ()
    ) -> tuple[dict[int, JournalEntry], int]:
        """The batches that need not be computed again, and how many journal lines were damaged.

        Args:
            batch_size: the scenario's.
            with_bitstreams: a batch counts only if the bytes of all its samples are there.
            drawn: samples to verify; a batch counts only if what that takes is there.
        """
        entries, damaged = self.journal.index()
        counting = {}
        for number, entry in entries.items():
            sizes = dict(enumerate(entry.coded_bytes, number * batch_size))
            wanted = {index: sizes[index] for index in drawn if index in sizes}
            if with_bitstreams and not all(_has_size(self.bitstream(index), size) for index, size in sizes.items()):
                continue
            if all(index in entry.verifiable and self._has_bytes(index, size) for index, size in wanted.items()):
                counting[number] = entry
        return counting, damaged

    def _has_bytes(self, index: int, size: int) -> bool:
        return any(_has_size(file, size) for file in (self.bitstream(index), self._candidate(index)))

    def write_tables(
        self, entries: Mapping[int, JournalEntry], kind: PredictionType | PredictionKind, samples: int
    ) -> None:
        """Writes ``samples.parquet`` and ``timings.parquet`` from the journal, a batch in memory at a time.

        Args:
            entries: the computed batches.
            kind: the scenario's prediction type.
            samples: how many to report; the last batch is cut there.
        """
        with replacing(self.path / SAMPLES_FILE) as rows_path, replacing(self.path / TIMINGS_FILE) as timings_path:
            with (
                TableWriter(rows_path, functools.partial(sample_schema, kind=kind)) as rows,
                TableWriter(timings_path, TIMING_SCHEMA) as timings,
            ):
                for entry in in_batch_order(entries):
                    for row in map(from_json, entry["rows"]):
                        if row["index"] < samples:
                            rows.append(row)
                    for timing in entry["timings"]:
                        if timing["index"] < samples:
                            timings.append(timing)
            # An earlier, shorter report does not fit these tables.
            (self.path / RESULT_FILE).unlink(missing_ok=True)

    def finish(self, result: Result, run: Mapping[str, Any]) -> None:
        """Writes the report; the journal goes once it holds nothing that a later, longer run could use."""
        (self.path / CONFIG_FILE).unlink(missing_ok=True)  # first, so that no kill leaves it beside the result
        self._write_report(result, run)
        if self.has_spent_journal(result):
            self.remove_journal()

    def rewrite(self, result: Result) -> None:
        """Writes the report anew, whose tables or figures have changed; what is known of the run stays."""
        try:
            run = json.loads((self.path / RUN_FILE).read_bytes())
        except (OSError, ValueError, RecursionError):
            run = {}
        self._write_report(result, run if isinstance(run, dict) else {})

    def _write_report(self, result: Result, run: Mapping[str, Any]) -> None:
        """Writes ``run.json`` with the hashes of all other files, then ``result.json``, the mark of completion."""
        report = result.model_dump(mode="json")
        hashes = hashes_of(self.path, [SAMPLES_FILE, TIMINGS_FILE, CODEC_DIRECTORY])
        write_json(self.path / RUN_FILE, sealed(run, {**hashes, RESULT_FILE: json_sha256(report)}))
        write_json(self.path / RESULT_FILE, report)

    def has_spent_journal(self, result: Result) -> bool:
        """True where a journal is left that no later run of this configuration could use."""
        return result.samples == result.test_samples and self.journal.directory.exists()

    def remove_journal(self) -> None:
        """Removes the journal, where there still is one."""
        remove(self.journal.directory)


def _write_piece(file: Path, data: bytes) -> None:
    with write_errors(file):
        try:
            file.write_bytes(data)
        except OSError:
            file.unlink(missing_ok=True)
            raise


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def read_consistently(folder: Path, read: Callable[[], T]) -> T:
    """What ``read`` makes of the files of a result's folder, read again where a run has replaced them meanwhile.

    Readers take no lock, so that they need not wait for a run, nor write where they may not. A run removes
    ``result.json`` before it replaces the files that belong to it.
    """
    while True:
        before = _stamp(folder / RESULT_FILE)
        try:
            found = read()
        except ResultsError:
            if _stamp(folder / RESULT_FILE) == before:
                raise
        else:
            if _stamp(folder / RESULT_FILE) == before:
                return found


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def find_results(results: Path) -> list[ResultFolder]:
    """The finished results under a folder, in the order of their paths.

    Raises:
        ResultsError: if there is none.
    """
    require_no_file(results)
    found = [ResultFolder(path.parent) for path in sorted(results.glob(f"*@*/*/[!.]*/{RESULT_FILE}"))]
    if not found:
        raise ResultsError(f"no finished result in {results}; `lamofcbench run --results {results}` makes some")
    return found
