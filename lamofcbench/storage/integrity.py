"""Proof that a file is the one its manifest names, taken once for each state of the file.

Hashing a shard costs as much as reading it, so a passed check is remembered in the cache folder by path, inode, size
and times; warm reads then pay one ``stat``. A file that rots on disk without any of these changing is not noticed here:
`lamofcbench verify` reads every byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lamofcbench.atomic import write_text
from lamofcbench.errors import DataError, first_line
from lamofcbench.storage.cache import cache_folder
from lamofcbench.storage.layout import FileRecord

FileState = tuple[int, int, int, int]

_verified: set[tuple[str, FileState, str]] = set()


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's content, read in pieces."""
    with path.open("rb") as file:
        return content_sha256(file)


def content_sha256(file: BinaryIO) -> str:
    """Hex sha256 of an open file from where it stands, read in pieces."""
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def open_verified(path: Path, record: FileRecord) -> BinaryIO:
    """An open file whose size and sha256 are those of its record; another file put in its place changes nothing.

    Raises:
        DataError: if it is missing, truncated or changed.
    """
    check_size(path, record)
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({first_line(error)}); {_mending(path)}") from error
    try:
        _verify(file, path, record)
    except BaseException:
        file.close()
        raise
    return file


def verify_afresh(path: Path, record: FileRecord) -> None:
    """Reads the whole file, whatever is remembered of it; what is found then holds for ordinary reading too.

    Raises:
        DataError: if it is missing, truncated or changed.
    """
    with suppress(OSError):
        _memo(path).unlink()
    _verified.difference_update([state for state in _verified if state[0] == str(path.absolute())])
    open_verified(path, record).close()


def check_size(path: Path, record: FileRecord) -> None:
    """Raises DataError unless there is a regular file of the recorded size."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is missing, though its manifest names it; {_mending(path)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is no regular file; {_mending(path)}")
    if status.st_size != record.size_bytes:
        raise DataError(
            f"{path} is damaged: it has {status.st_size} bytes, its manifest says {record.size_bytes}; {_mending(path)}"
        )


def state_of(status: os.stat_result) -> FileState:
    """What changes when a file is written, or another is put in its place."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _verify(file: BinaryIO, path: Path, record: FileRecord) -> None:
    state = (str(path.absolute()), state_of(os.fstat(file.fileno())), record.sha256)
    if state in _verified:
        return
    memo = _memo(path)
    text = json.dumps(state)
    if not _remembered(memo, text):
        try:
            found = content_sha256(file)
            file.seek(0)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({first_line(error)}); {_mending(path)}") from error
        if found != record.sha256:
            raise DataError(f"{path} is damaged: its sha256 is not that of its manifest; {_mending(path)}")
        _remember(memo, text)
    _verified.add(state)


def _memo(path: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]
    return cache_folder() / "verified" / f"{digest}.json"


def _mending(path: Path) -> str:
    """What makes a damaged file whole; the Hub's cache holds links to files that stay unless they are removed."""
    if path.is_symlink():
        return f"remove {path.resolve()} and it is downloaded again"
    return f"remove {path.parent} and build or download the dataset again"


def _remembered(memo: Path, text: str) -> bool:
    try:
        return memo.read_text() == text
    except (OSError, ValueError):
        return False


def _remember(memo: Path, text: str) -> None:
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_text(memo, text)
    except OSError:
        pass  # a cache that cannot be written costs another hashing next time, nothing else
