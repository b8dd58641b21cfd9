"""One builder at a time: the second waits, says for whom, and goes on when the first has ended, however it ended.

A lock is a small file that stays where it is, because a process that waits for a removed file would share its lock with
nobody. The operating system holds the lock itself, so a killed holder blocks nobody; `filelock` carries it to network
file systems as far as they have locks.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lamofcbench.errors import LaMoFCBenchError, first_line, shown

LOGGER = logging.getLogger("lamofcbench")
LOCKS_DIRECTORY = ".locks"
"""Where a dataset folder keeps its locks; hidden, so that nothing takes it for a part of the data."""
_OWNER_BYTES = 200


def building(output: Path, scenario_id: str) -> AbstractContextManager[bool]:
    """Keeps others from building the same scenario into the same folder; yields whether it had to wait for one.

    Args:
        output: the dataset folder, which is there.
        scenario_id: what is built.

    Raises:
        LaMoFCBenchError: if the folder cannot be written.
    """
    return held(output / LOCKS_DIRECTORY / f"{scenario_id}.lock", f"is building {scenario_id} in {output}")


@contextmanager
def held(path: Path, doing: str) -> Iterator[bool]:
    """Holds the lock of a file; yields whether it had to wait for another process or thread.

    One thread may hold the same lock several times over, as a function does that calls another one which locks too.

    Args:
        path: the lock file.
        doing: what the holder does, for the message of those that wait: "is building DIR".

    Raises:
        LaMoFCBenchError: if the file cannot be made or locked.
    """
    lock = FileLock(path.absolute(), is_singleton=True)
    outermost, waited = not lock.is_locked, False
    owner = _owner(path)  # before opening the lock, which empties it in older versions of filelock
    try:
        path.parent.mkdir(exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        waited = True
        LOGGER.warning("waiting for %s, which %s", owner or _owner(path) or "another process", doing)
        lock.acquire()
    except OSError as error:
        raise LaMoFCBenchError(f"cannot lock {path} ({first_line(error)}); is the folder yours to write?") from error
    try:
        _write(path, f"process {os.getpid()} on {socket.gethostname()}")
        yield waited
    finally:
        if outermost:
            _write(path, "")
        lock.release()


def _owner(path: Path) -> str:
    """What the present or last holder called itself; empty where nobody holds the lock or it cannot be told."""
    try:
        with path.open("rb") as file:
            return shown(file.read(_OWNER_BYTES).decode("ascii", "replace")).strip("'")
    except OSError:
        return ""


def _write(path: Path, owner: str) -> None:
    with suppress(OSError):  # only the message of those that wait depends on it
        path.write_text(owner, encoding="ascii", errors="replace")
