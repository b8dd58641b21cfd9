"""Locks between processes, on one machine or on several that share a file system: one at a time, others wait.

Who waits says for whom: beside a lock file its holder leaves a note of what it is doing. The system releases the lock
of a process that dies. Lock files stay, because removing one that another process is about to lock would split them.

Where a file system knows no locks, the mere presence of a file stands in for one (filelock's ``SoftFileLock``). Then
nobody releases what a machine that died was holding; the message of those who wait says which file to delete.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from lamofcbench.atomic import write_errors

LOGGER = logging.getLogger("lamofcbench")
LOCKS_DIRECTORY = ".locks"
"""Where a folder keeps the locks on its content; hidden, so that nothing takes it for a part of it."""

_PATIENCE_SECONDS = 0.25  # shorter waits go without saying
_POLL_SECONDS = 0.1
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
_without_locks: set[int] = set()  # devices that the user has been told of


@contextlib.contextmanager
def locked(file: Path, doing: str) -> Iterator[bool]:
    """Holds a lock, after waiting for whoever holds it; yields whether that took a wait.

    A thread may take a lock that it holds, as a function does that calls another one which locks too. It must not wait
    for a lock of someone who may wait for one of its own.

    Args:
        file: the lock file; made where it is missing.
        doing: what is done under the lock, for those who wait: "building DIR".

    Raises:
        WriteError: if the lock file cannot be written.
    """
    with write_errors(file):
        attempt = _attempt(file)
        if not attempt.free:
            lock = attempt.lock
            advice = f"; if that is gone, delete {lock.lock_file}" if isinstance(lock, SoftFileLock) else ""
            LOGGER.warning("waiting for %s%s", _holder(file), advice)
            lock.acquire(poll_interval=_POLL_SECONDS)
    with _released_after(attempt, file, doing):
        yield attempt.waited


@contextlib.contextmanager
def locked_if_free(file: Path, doing: str) -> Iterator[bool]:
    """Holds a lock unless somebody else does, or it cannot be made; yields whether it is held. See `locked`."""
    try:
        attempt = _attempt(file)
    except OSError:
        yield False
        return
    if not attempt.free:
        yield False
        return
    with _released_after(attempt, file, doing):
        yield True


@dataclass(frozen=True)
class _Attempt:
    """A lock that was asked for.

    Attributes:
        free: it is held now.
        waited: somebody else held it.
        outermost: this thread did not hold it already.
    """

    lock: BaseFileLock
    free: bool
    waited: bool
    outermost: bool


def _attempt(file: Path) -> _Attempt:
    """Acquires a lock unless somebody holds it for more than a moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        attempt = _ask(FileLock(file.absolute(), is_singleton=True))
    except (OSError, NotImplementedError) as error:  # the latter by older releases of filelock
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        attempt = _ask(SoftFileLock(file.absolute().with_name(f"{file.name}.present"), is_singleton=True))
    if isinstance(attempt.lock, SoftFileLock) and (device := file.parent.stat().st_dev) not in _without_locks:
        _without_locks.add(device)
        LOGGER.warning("the file system of %s knows no locks; the presence of a file stands in for one", file)
    return attempt


def _ask(lock: BaseFileLock) -> _Attempt:
    outermost = not lock.is_locked
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # filelock's own word on falling back to `SoftFileLock`
        for seconds in (0, _PATIENCE_SECONDS):
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=seconds, poll_interval=_POLL_SECONDS / 2)
                return _Attempt(lock, free=True, waited=seconds > 0, outermost=outermost)
    return _Attempt(lock, free=False, waited=True, outermost=outermost)


@contextlib.contextmanager
def _released_after(attempt: _Attempt, file: Path, doing: str) -> Iterator[None]:
    note = file.with_name(f"{file.name}.holder")
    try:
        if attempt.outermost:
            _leave_note(note, doing)
        yield
    finally:
        try:
            if attempt.outermost:
                with contextlib.suppress(OSError):
                    note.unlink()
        finally:
            attempt.lock.release()


def _leave_note(note: Path, doing: str) -> None:
    content = {
        "doing": doing,
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    }
    with contextlib.suppress(OSError):  # it only informs
        note.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _holder(file: Path) -> str:
    try:
        note = json.loads(file.with_name(f"{file.name}.holder").read_text(encoding="utf-8"))
        return "process {process} on {host}, which has been {doing} since {since}".format_map(note)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"another process, which holds {file}"
