"""The journal: what a run has computed so far, a checksummed line a batch.

A process appends to a file of its own, one line a batch, handed to the system before the next batch starts: killing
the process loses nothing that was appended. A power failure loses what the last second appended, because waiting for
the disk at every batch would cost more than small batches themselves. A line counts only if its checksum holds, so one
that was torn by a crash, or damaged later, is as if its batch had never been computed.
The checksum also covers the config hash: a line of another run never counts.

Runs take turns (`ResultFolder.locked`), but a rank may outlive the leader that held the lock, until it next looks for
the others. So each rank also holds a lock on its own file.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from lamofcbench.atomic import write_errors
from lamofcbench.errors import ResultsError
from lamofcbench.locks import locked

CHECKSUM_DIGITS = 16
SYNC_SECONDS = 1.0


class Journal:
    """The journal files of one result.

    Args:
        directory: holds ``<rank>.jsonl`` for each process.
        config_hash: of the result.
    """

    def __init__(self, directory: Path, config_hash: str) -> None:
        self.directory, self.config_hash = directory, config_hash

    def _checksum(self, text: bytes) -> bytes:
        return hashlib.sha256(self.config_hash.encode() + b"\n" + text).hexdigest()[:CHECKSUM_DIGITS].encode()

    def line(self, entry: Mapping[str, Any]) -> bytes:
        """The line of a batch: checksum, space, JSON, newline."""
        text = json.dumps(entry, separators=(",", ":")).encode()
        return self._checksum(text) + b" " + text + b"\n"

    def parse(self, line: bytes) -> dict[str, Any] | None:
        """The batch of a line; None where the line is torn or damaged."""
        checksum, _, text = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum != self._checksum(text):
            return None
        entry: dict[str, Any] = json.loads(text)
        return entry

    def locked(self, rank: str) -> AbstractContextManager[bool]:
        """The lock on a rank's file."""
        return locked(self.directory / f"{rank}.lock", f"writing {self.directory / rank}.jsonl")

    def files(self) -> list[Path]:
        """The journal files, in a fixed order."""
        return sorted(self.directory.glob("*.jsonl"))

    def index(self) -> tuple[dict[int, JournalEntry], int]:
        """Where each computed batch stands, and how many lines were damaged."""
        found: dict[int, JournalEntry] = {}
        damaged = 0
        for path in self.files():
            with path.open("rb") as file:
                at = 0
                for line in file:
                    entry = self.parse(line)
                    if entry is None:
                        damaged += 1
                    else:
                        sizes = tuple(row["coded_bytes"] for row in entry["rows"])
                        kept = frozenset(map(int, entry.get("evidence", ())))
                        earlier = found.get(entry["batch"])
                        if earlier is None or earlier.verifiable <= kept:  # computed once more for what it lacked
                            found[entry["batch"]] = JournalEntry(self, path, at, entry["rank"], sizes, kept)
                    at += len(line)
        return found, damaged

    def repair(self) -> None:
        """Cuts a torn last line off each file, so that what is appended starts on a line of its own."""
        for path in self.files():
            with self.locked(path.stem), write_errors(path), path.open("r+b", buffering=0) as file:
                file.truncate(_end_of_last_line(file))


class JournalEntry:
    """One computed batch, left on disk until it is read.

    Attributes:
        rank: the process that computed it.
        coded_bytes: the bitstream size of each of its samples.
        verifiable: positions of the samples whose decoded features left evidence.
    """

    __slots__ = ("_at", "_journal", "_path", "coded_bytes", "rank", "verifiable")

    def __init__(
        self,
        journal: Journal,
        path: Path,
        at: int,
        rank: int,
        coded_bytes: tuple[int, ...],
        verifiable: frozenset[int] = frozenset(),
    ) -> None:
        self._journal, self._path, self._at = journal, path, at
        self.rank, self.coded_bytes, self.verifiable = rank, coded_bytes, verifiable

    def read(self) -> dict[str, Any]:
        """The batch's line."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            entry = self._journal.parse(file.readline())
        if entry is None:
            raise ResultsError(f"{self._path} changed while it was read; rerun the same command")
        return entry


class JournalWriter:
    """Appends batches to one process's journal file, which it holds locked meanwhile."""

    def __init__(self, journal: Journal, rank: int) -> None:
        self._journal, self._rank = journal, rank
        self._path = journal.directory / f"{rank}.jsonl"
        self._held = ExitStack()
        self._synced = time.monotonic()

    def __enter__(self) -> JournalWriter:
        with ExitStack() as held:
            held.enter_context(self._journal.locked(str(self._rank)))
            with write_errors(self._path):
                self._path.touch()
                self._file = held.enter_context(self._path.open("r+b", buffering=0))
                self._end = _end_of_last_line(self._file)
                self._file.truncate(self._end)
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def append(self, entry: Mapping[str, Any]) -> None:
        """Writes a batch; every so often also waits until all is on disk.

        Raises:
            WriteError: if the line cannot be written; what there is of it is cut off.
        """
        line = memoryview(self._journal.line(entry))
        with write_errors(self._path):
            try:
                self._file.seek(self._end)
                written = 0
                while written < len(line):
                    written += self._file.write(line[written:])
            except OSError:
                self._file.truncate(self._end)
                raise
            self._end += len(line)
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()


def _end_of_last_line(file: FileIO, step: int = 2**16) -> int:
    """The size of the file up to and including its last newline."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - step)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def in_batch_order(entries: Mapping[int, JournalEntry]) -> Iterator[dict[str, Any]]:
    """The computed batches, read one at a time."""
    for number in sorted(entries):
        yield entries[number].read()
