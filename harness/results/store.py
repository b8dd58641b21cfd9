"""The results folder of one configuration: where things lie, what is finished, and how a run becomes files.

``results/<scenario>@<version>/<codec>/<config hash>/`` is laid out in `harness.results.result`. Beside the files named
there, ``codec/fit.json`` says what the codec was fitted on, so that a later run finds it again. An unfinished run has
``journal/``, what it has computed so far, and ``config.json``, what its hash is made of.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.results.hashes import RUN_FILE, hashes_of, json_sha256, json_text, sealed
from harness.results.journal import Journal, JournalEntry, in_batch_order
from harness.results.record import TIMING_SCHEMA, TableWriter, from_json, sample_schema
from harness.results.result import Result
from lamofcbench.errors import ResultsError, one_line
from lamofcbench.scenarios.base import PredictionType

RESULT_FILE = "result.json"
SAMPLES_FILE = "samples.parquet"
TIMINGS_FILE = "timings.parquet"
CODEC_DIRECTORY = "codec"
BITSTREAM_DIRECTORY = "bitstreams"
JOURNAL_DIRECTORY = "journal"
FIT_FILE = "fit.json"
CONFIG_FILE = "config.json"
_TEMPORARY = ".tmp"

ASKED = "asked"
"""In ``run.json``: when a run last asked for the result, by which a report tells new code from old."""
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


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of ``path`` once the block has succeeded.

    The temporary name is always the same, so what a killed run left is overwritten.
    """
    temporary = path.with_name(path.name + _TEMPORARY)
    yield temporary
    temporary.replace(path)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link_tree(source: Path, target: Path) -> None:
    """A copy of a folder whose files are the same until one is replaced; real copies where there are no links."""

    def link(file: str, copy: str) -> None:
        try:
            os.link(file, copy)
        except OSError:
            shutil.copy2(file, copy)

    shutil.copytree(source, target, copy_function=link)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON with sorted keys, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json_text(value))


class ResultFolder:
    """One configuration's folder, finished, unfinished or not yet there.

    Args:
        path: ends in the config hash.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path / JOURNAL_DIRECTORY, path.name)

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
            detail = error.errors()[0]
            where = one_line(".".join(map(str, detail["loc"]))) or "it"
            raise ResultsError(f"{file} breaks the result schema: {where}: {one_line(detail['msg'], 200)}") from error
        if result.config_hash != self.path.name:
            raise ResultsError(f"{file} is the result of {result.config_hash}, not of the folder it is in")
        return result

    def begin(self, config: Mapping[str, Any]) -> None:
        """Notes what an unfinished folder is of, so that a report can tell whether a run will ever complete it."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / CONFIG_FILE, config)

    def begun_as(self) -> dict[str, Any] | None:
        """What `begin` noted; None where there is no such note of this folder."""
        try:
            config = json.loads((self.path / CONFIG_FILE).read_bytes())
            return config if config_hash(config) == self.path.name else None
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    def ask(self, when: str) -> None:
        """Notes in ``run.json`` that a run has asked for the finished result again, where that can be written.

        Args:
            when: ISO 8601, see `ASKED`.
        """
        with contextlib.suppress(OSError, ValueError, RecursionError):
            run = json.loads((self.path / RUN_FILE).read_bytes())
            if isinstance(run, dict):
                write_json(self.path / RUN_FILE, run | {ASKED: when})

    def threads(self) -> int:
        """How many threads torch had in the run, as far as ``run.json`` says so."""
        try:
            return max(1, int(json.loads((self.path / RUN_FILE).read_bytes())["threads"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return 1

    def discard(self) -> None:
        """Removes everything, the mark of completion first."""
        (self.path / RESULT_FILE).unlink(missing_ok=True)
        remove(self.path)

    def write_bitstream(self, index: int, data: bytes) -> None:
        """Keeps the bytes of a sample, written before the journal line that vouches for them.

        The folder must be there. Resume trusts the journal and checks the size, so a torn file is written again.
        """
        self.bitstream(index).write_bytes(data)

    def bitstream(self, index: int) -> Path:
        """The file of a sample's bytes, if it was kept."""
        return self.path / BITSTREAM_DIRECTORY / f"{index}.bin"

    def write_candidate(self, index: int, data: bytes) -> None:
        """Keeps the bytes of a sample as long as the journal, which must be there: they may be wanted to verify it."""
        self._candidate(index).write_bytes(data)

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

    def write_tables(self, entries: Mapping[int, JournalEntry], kind: PredictionType, samples: int) -> None:
        """Writes ``samples.parquet`` and ``timings.parquet`` from the journal, a batch in memory at a time.

        Args:
            entries: the computed batches.
            kind: the scenario's prediction type.
            samples: how many to report; the last batch is cut there.
        """
        (self.path / RESULT_FILE).unlink(missing_ok=True)  # an earlier, shorter report no longer fits these tables
        with replacing(self.path / SAMPLES_FILE) as rows_path, replacing(self.path / TIMINGS_FILE) as timings_path:
            rows: TableWriter | None = None
            timings = TableWriter(timings_path, TIMING_SCHEMA)
            for entry in in_batch_order(entries):
                for row in map(from_json, entry["rows"]):
                    if row["index"] < samples:
                        rows = rows or TableWriter(rows_path, sample_schema(row, kind))
                        rows.append(row)
                for timing in entry["timings"]:
                    if timing["index"] < samples:
                        timings.append(timing)
            assert rows is not None  # a report covers at least one sample
            rows.close()
            timings.close()

    def finish(self, result: Result, run: Mapping[str, Any]) -> None:
        """Writes the report; the journal goes once it holds nothing that a later, longer run could use."""
        self.remove_leftovers()
        self._write_report(result, run)
        (self.path / CONFIG_FILE).unlink(missing_ok=True)  # the result holds it all
        if result.samples == result.test_samples:
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

    def remove_journal(self) -> None:
        """Removes the journal, where there still is one."""
        remove(self.journal.directory)

    def remove_leftovers(self) -> None:
        """Removes the temporary files of runs that were killed."""
        for path in self.path.glob(f"*{_TEMPORARY}"):
            remove(path)


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def find_results(results: Path) -> list[ResultFolder]:
    """The finished results under a folder, in the order of their paths.

    Raises:
        ResultsError: if there is none.
    """
    found = [ResultFolder(path.parent) for path in sorted(results.glob(f"*@*/*/*/{RESULT_FILE}"))]
    if not found:
        raise ResultsError(f"no finished result in {results}; `lamofcbench run --results {results}` makes some")
    return found
