"""A disk of its own for a process: what it needs can be read, the rest is not there, and what it writes ends with it.

A codec that may use the disk can leave there, through a program that it starts, what another rate point then decodes
from, and read what is nobody's business. So the process, in namespaces of its own that ``unshare`` made, mounts empty
folders in memory over all but the system's programs and libraries, shows again in them what it needs, makes everything
read-only but its own folder, without devices but the harmless ones, and gives up the right to undo that. Its process
namespace sees to it that no program outlives it. Nothing but the standard library is imported here, and this file runs
as a program too, to tell whether the machine allows all that: ``python -I -S enclosure.py FOLDER``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

NAMESPACES = ("--ipc", "--mount", "--pid", "--fork", "--kill-child")
"""Of ``unshare``, beside those of user and network."""

_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND, _REC = 1, 2, 4, 8, 4096, 16384  # of mount(2)
_MOUNT_SETATTR = 442  # on every architecture
_HERE, _RECURSIVE = -100, 0x8000
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SHARED_MEMORY = "/dev/shm"
_WRITABLE = ("/dev", "/tmp")
"""Folders in memory that stay writable where they are hidden."""
_CAPBSET_DROP, _NO_NEW_PRIVS = 24, 38  # of prctl(2)
_CAPABILITIES_3 = 0x20080522
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_JOIN_SESSION_KEYRING = 1


class _Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


def close_off(own: Path, visible: Sequence[str], hidden: Sequence[str], copied: Sequence[str], most_bytes: int) -> None:
    """Takes the disk away from this process, which has one thread and stands in its own folder.

    Args:
        own: the process's own folder, the only one on the disk that can be written.
        visible: files and folders that are to be seen where they lie below hidden ones.
        hidden: folders to be empty ones in memory; those that are not there are left out.
        copied: folders whose files are to be copies in memory, for libraries that write beside what they read.
        most_bytes: in each of these folders in memory.

    Raises:
        OSError: if the machine does not allow it.
    """
    working = Path.cwd()
    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.suppress(OSError):  # of further namespaces, in which a program would have all rights again
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    with contextlib.suppress(OSError):  # a container's may be kept: no process of another namespace can be read
        _mount(libc, "proc", "/proc", "proc", _RDONLY | _NOSUID | _NODEV | _NOEXEC)
    covered, copies = _folders([*hidden, "/dev"]), {place: _files(place) for place in copied if Path(place).is_dir()}
    devices = [place for place in _DEVICES if Path(place).exists()]
    handles = [(place, os.open(place, os.O_PATH)) for place in (*_shown_again(visible, covered), *devices)]
    own_handle = os.open(own, os.O_PATH)
    _set(libc, "/", _Attributes(set=_RDONLY | _NOSUID | _NODEV), _RECURSIVE)
    in_memory = f"size={most_bytes},mode=1777"
    for place in covered:
        _mount(libc, "tmpfs", place, "tmpfs", _NOSUID | _NODEV, in_memory)
    for place, handle in (*handles, (str(own), own_handle)):
        _make_place(place, handle)
        _mount(libc, f"/proc/self/fd/{handle}", place, None, _BIND | _REC)
        os.close(handle)
    Path(_SHARED_MEMORY).mkdir(exist_ok=True)
    for place in covered:
        if place not in _WRITABLE and os.path.ismount(place):  # else it lies in another one
            _set(libc, place, _Attributes(set=_RDONLY))
    for place in devices:
        _set(libc, place, _Attributes(clear=_NODEV))
    _set(libc, str(own), _Attributes(clear=_RDONLY))
    for place, files in copies.items():
        _mount(libc, "tmpfs", place, "tmpfs", _NOSUID | _NODEV, in_memory)
        for name, content in files.items():
            Path(place, name).write_bytes(content)
    os.chdir(working)
    _join_a_session_of_its_own(libc)
    _give_up_rights(libc)


def _folders(hidden: Sequence[str]) -> list[str]:
    """Those that are there, by their real paths, deeper ones first: they are out of reach once an outer is covered."""
    real = {os.path.realpath(folder) for folder in hidden}
    return sorted((path for path in real if path != "/" and Path(path).is_dir()), key=lambda path: -path.count("/"))


def _files(folder: str) -> dict[str, bytes]:
    """What the files of a folder hold."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def _shown_again(visible: Sequence[str], covered: Sequence[str]) -> list[str]:
    """What is to be seen and would not be, by the paths that lead there, outer ones first."""
    paths = {name for path in visible for name in (str(Path(path).absolute()), os.path.realpath(path))}
    below = [path for path in paths if any(f"{path}/".startswith(f"{folder}/") for folder in covered)]
    return sorted((path for path in below if Path(path).exists()), key=lambda path: path.count("/"))


def _make_place(place: str, handle: int) -> None:
    """A folder, or a file, to mount on."""
    if Path(place).exists():
        return
    if Path(f"/proc/self/fd/{handle}").is_dir():
        Path(place).mkdir(parents=True)
    else:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(place).touch()


def _mount(libc: ctypes.CDLL, source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    encoded = None if kind is None else kind.encode()
    if libc.mount(source.encode(), os.fsencode(target), encoded, ctypes.c_ulong(flags), options.encode()):
        raise _error(f"mount {target}")


def _set(libc: ctypes.CDLL, place: str, attributes: _Attributes, flags: int = 0) -> None:
    """Changes what a mount allows, and with `_RECURSIVE` all below."""
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    if libc.syscall(_MOUNT_SETATTR, _HERE, os.fsencode(place), flags, ctypes.byref(attributes), size):
        raise _error(f"mount_setattr {place}")


def _join_a_session_of_its_own(libc: ctypes.CDLL) -> None:
    """The kernel keeps keys for a session, which outlive a process; where it has none of that, nothing is kept."""
    number = _KEYCTL.get(platform.machine())
    if number is not None:
        libc.syscall(number, _JOIN_SESSION_KEYRING, None)


def _give_up_rights(libc: ctypes.CDLL) -> None:
    """Nobody in the namespaces may unmount from here on, whatever program is started."""
    capability = 0
    while libc.prctl(_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) == 0:
        capability += 1
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, none) or libc.prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0):
        raise _error("give up capabilities")


def _error(doing: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"cannot {doing}: {os.strerror(number)}")


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    close_off(Path(sys.argv[1]), [], ["/tmp"], [], 2**20)
