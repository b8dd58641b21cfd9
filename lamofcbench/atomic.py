"""Atomic writes: a reader sees what was there before or the whole of what is new, whatever becomes of the writer.

New content is written under a hidden temporary name in the same folder and renamed when it is complete. Temporary names
are unique, so that writers never meet in one, and carry machine and process, so that what a killed one left behind is
recognised and removed by the next writer in that folder.

Content is on disk before its name changes (fsync), so that a power failure leaves the old or the new file as well, not
one full of zeros under the new name. The change of name is not waited for: a power failure may undo the last moments'
renames, which costs that work and nothing else, as file systems keep their order and the file that vouches for others
is always written last.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lamofcbench.errors import LaMoFCBenchError, WriteError
from lamofcbench.processes import is_running, machine

_TEMPORARY = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.tmp", re.DOTALL)
_SHOWN_CHARACTERS = 40  # of a name in a temporary one; file systems allow 255 bytes
_STALE_SECONDS = 24 * 3600.0
"""For what another machine left, or this one before it last started: who knows whether its writer runs?"""

_ADVICE = {
    errno.ENOSPC: "make room and run the same command again",
    errno.EDQUOT: "make room and run the same command again",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or choose another file system",
    errno.EROFS: "choose another folder",
    errno.EACCES: "choose another folder, or change its permissions",
    errno.EPERM: "choose another folder, or change its permissions",
    errno.ENOTDIR: "choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_WRITING_FAILS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""What only writing meets, where an error does not say which file it is about."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path, for a file or a folder, that takes the place of ``path`` once the block has succeeded.

    The folder that it lies in is made where it is missing. A device or a pipe is not replaced but written to.

    Args:
        path: what to write. Where a folder replaces a folder, there is none for a moment in between.

    Raises:
        WriteError: naming ``path``, if writing fails; no temporary file stays.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "figures.txt"
        >>> with replacing(path) as temporary:
        ...     _ = temporary.write_text("42")
        >>> path.read_text(), len(list(path.parent.iterdir()))
        ('42', 1)
    """
    if _is_device(path):
        with write_errors(path):
            yield path
        return
    with temporary_beside(path) as temporary:
        yield temporary
        _wait_for_disk(temporary)
        _rename(temporary, path)


def _is_device(path: Path) -> bool:
    """Whether something that is no file and no folder stands there; told by one look, for others may replace it."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A unique hidden path beside another; what is written there in the block is removed at its end.

    Raises:
        WriteError: naming ``path``, if writing fails.
    """
    temporary = _temporary_name(path)
    with write_errors(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        try:
            yield temporary
        finally:
            with contextlib.suppress(OSError):
                remove(temporary)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Writes a text file in UTF-8, whole or not at all; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8", newline="\n")


def json_text(value: Any) -> str:
    """JSON as `write_json` writes it: indented, with sorted keys."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, whole or not at all; see `json_text` and `replacing`."""
    write_text(path, json_text(value))


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed writers left in a folder; what a living one is writing stays."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        left = [Path(entry) for entry in entries if _is_left(entry)]
        for path in left:
            with contextlib.suppress(OSError):
                remove(path)


@contextlib.contextmanager
def write_errors(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Names the file whose writing fails, and the reason, whatever library was writing.

    Args:
        path: named in the message.
        temporary: what is really written; by default the same.

    Raises:
        WriteError: if the block fails to write. Other errors pass as they are.
    """
    written = path if temporary is None else temporary
    try:
        yield
    except WriteError as error:
        if not error.path.is_relative_to(written):
            raise
        raise WriteError(path / error.path.relative_to(written), error.reason) from error
    except LaMoFCBenchError:
        raise
    except Exception as error:
        number = _failure(error, path, written)
        if number is None:
            raise
        raise WriteError(path, _reason(number)) from error


# -------------------------------------------------------------------------------------------------------------- names


def _temporary_name(path: Path) -> Path:
    shown = path.name[:_SHOWN_CHARACTERS]
    return path.with_name(f".{shown}.{machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _is_left(entry: os.DirEntry[str]) -> bool:
    match = _TEMPORARY.fullmatch(entry.name)
    if match is None:
        return False
    if match[1] == machine():
        return not is_running(int(match[2]))
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE_SECONDS


# ------------------------------------------------------------------------------------------------------------ renaming

_sync = getattr(os, "fdatasync", os.fsync)  # the former leaves out times and link counts


def _wait_for_disk(path: Path) -> None:
    """Waits until a file, or each file of a folder, is on disk."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    for file in files:
        with file.open("r+b") as opened:
            _sync(opened.fileno())


def _rename(temporary: Path, path: Path) -> None:
    if not temporary.is_dir():
        temporary.replace(path)
        return
    while True:
        aside = _temporary_name(path)
        with contextlib.suppress(FileNotFoundError):
            path.rename(aside)  # a folder cannot be renamed onto a full one
        try:
            temporary.rename(path)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with contextlib.suppress(OSError):
                    aside.rename(path)
                raise
            remove(aside)  # another writer was faster; its folder is replaced in turn
    with contextlib.suppress(OSError):
        remove(aside)


# -------------------------------------------------------------------------------------------------------------- errors


def _failure(error: BaseException | None, path: Path, written: Path) -> int | None:
    """The system's number of the failure to write that an error is about; None where it is about something else."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        number = _number(error)
        if number is not None and (number in _WRITING_FAILS or _is_about(error, path, written)):
            return number
        error = error.__cause__ or error.__context__
    return None


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    rust = re.search(r"\(os error (\d+)\)", str(error))  # safetensors
    return int(rust[1]) if rust else None


def _is_about(error: BaseException, path: Path, written: Path) -> bool:
    name = getattr(error, "filename", None)
    if isinstance(name, (str, bytes)):
        about = Path(os.fsdecode(name))
        return about in (path, path.parent) or about.is_relative_to(written) or path.is_relative_to(about)
    # Messages alone name files in pyarrow, and in safetensors a temporary one of its own.
    return any(name in str(error) for name in (str(written), str(written.parent / ".tmp")))


def _reason(number: int) -> str:
    advice = _ADVICE.get(number)
    return os.strerror(number) + (f"; {advice}" if advice else "")
