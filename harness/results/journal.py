"""The journal: what a run has computed so far, a checksummed line a batch.

A process appends to a file of its own, one line a batch, handed to the system before the next batch starts: killing
the process loses nothing that was appended. A power failure loses what the last second appended, because waiting for
the disk at every batch would cost more than small batches themselves. A line counts only if its checksum holds, so one
that was torn by a crash, or damaged later, is as if its batch had never been computed.
The checksum also covers the config hash: a line of another run never counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lamofcbench.errors import ResultsError

try:
    import fcntl
except ImportError:  # no such locks on Windows; two runs into one folder are then the user's to avoid
    fcntl = None  # type: ignore[assignment]

CHECKSUM_DIGITS = 16
LOCK_SECONDS = 10.0
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
        """Cuts a torn last line off each file, so that what is appended starts on a line of its own.

        Raises:
            ResultsError: if another run is writing.
        """
        for path in self.files():
            with _locked(path) as file:
                data_end = _end_of_last_line(file)
                file.truncate(data_end)


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
        journal.directory.mkdir(parents=True, exist_ok=True)
        self._journal = journal
        self._path = journal.directory / f"{rank}.jsonl"
        self._path.touch()
        self._synced = time.monotonic()

    def __enter__(self) -> JournalWriter:
        self._file = _locked(self._path)
        self._file.truncate(_end_of_last_line(self._file))
        self._file.seek(0, os.SEEK_END)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, entry: Mapping[str, Any]) -> None:
        """Writes a batch; every so often also waits until all is on disk."""
        self._file.write(self._journal.line(entry))
        self._file.flush()
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()


def _locked(path: Path) -> IO[bytes]:
    """The file, open for reading and writing; no other process holds it this way.

    A run that was just killed may leave processes that end within moments, so this waits a little.
    """
    file = path.open("r+b")
    if fcntl is None:
        return file
    give_up = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            if time.monotonic() > give_up:
                file.close()
                raise ResultsError(f"another run is writing to {path.parent}; wait for it or end it") from None
            time.sleep(0.1)


def _end_of_last_line(file: IO[bytes], step: int = 2**16) -> int:
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
