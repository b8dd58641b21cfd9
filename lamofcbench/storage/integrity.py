"""Proof that a file is the one its manifest names, taken once for each state of the file.

Hashing a shard costs as much as reading it, so a passed check is remembered in the cache folder by path, size and
modification time; warm reads then pay one ``stat``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from lamofcbench.errors import DataError
from lamofcbench.storage.cache import cache_folder
from lamofcbench.storage.layout import FileRecord, write_atomically

_verified: set[tuple[str, int, int, str]] = set()


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def verify_file(path: Path, record: FileRecord) -> None:
    """Checks size and sha256 of a file against its record.

    Raises:
        DataError: if it is missing, truncated or changed.
    """
    status = check_size(path, record)
    state = (str(path.absolute()), status[0], status[1], record.sha256)
    if state in _verified:
        return
    memo = cache_folder() / "verified" / f"{hashlib.sha256(state[0].encode()).hexdigest()[:32]}.json"
    if not _remembered(memo, state):
        if file_sha256(path) != record.sha256:
            raise DataError(f"{path} is damaged: its sha256 is not that of its manifest; {_mending(path)}")
        _remember(memo, state)
    _verified.add(state)


def check_size(path: Path, record: FileRecord) -> tuple[int, int]:
    """Size and modification time of a file that is there and has its recorded size.

    Raises:
        DataError: if it is missing or of another size.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} is missing, though its manifest names it; {_mending(path)}") from error
    if status.st_size != record.size_bytes:
        raise DataError(
            f"{path} is damaged: it has {status.st_size} bytes, its manifest says {record.size_bytes}; {_mending(path)}"
        )
    return status.st_size, status.st_mtime_ns


def _mending(path: Path) -> str:
    """What makes a damaged file whole; the Hub's cache holds links to files that stay unless they are removed."""
    if path.is_symlink():
        return f"remove {path.resolve()} and it is downloaded again"
    return f"remove {path.parent} and build or download the dataset again"


def _remembered(memo: Path, state: tuple[str, int, int, str]) -> bool:
    try:
        return json.loads(memo.read_text()) == list(state)
    except (OSError, ValueError):
        return False


def _remember(memo: Path, state: tuple[str, int, int, str]) -> None:
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memo, json.dumps(state))
    except OSError:
        pass  # a cache that cannot be written costs another hashing next time, nothing else
