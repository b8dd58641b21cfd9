"""Limits on a process that decodes for a stranger: memory, sizes of files, and no network.

The first two are limits of the system (`resource.setrlimit`), which the process puts on itself before it loads
anything; programs that it starts inherit them. The network is taken away by a user and network namespace of its own,
through the program ``unshare``, where the machine has one. What could not be done is told (`unconfined`). Time is
limited request by request, see `harness.running.decoding_process`.
"""

from __future__ import annotations

import contextlib
import functools
import resource
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

NAMESPACES = ("--user", "--map-root-user", "--net")


@dataclass(frozen=True)
class Limits:
    """What the process may use.

    Attributes:
        memory_bytes: beyond what it takes before anything is loaded.
        file_bytes: of the largest file that it may write.
    """

    memory_bytes: int = 8 * 2**30
    file_bytes: int = 2**30

    def as_message(self) -> dict[str, int]:
        """For `apply` in the process."""
        return asdict(self)


@functools.cache
def unconfined() -> str:
    """Why the network cannot be taken away from a process on this machine; empty where it can."""
    program = shutil.which("unshare")
    if program is None:
        return "this machine has no program unshare, so the decoder was not cut off from the network"
    try:
        done = subprocess.run([program, *NAMESPACES, "true"], capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        done = None
    if done is None or done.returncode:
        return "this machine lets nobody make namespaces, so the decoder was not cut off from the network"
    return ""


def confined(command: list[str]) -> list[str]:
    """The command in a user and network namespace of its own; as it is where there are none."""
    if unconfined():
        return command
    program = shutil.which("unshare")
    assert program is not None
    return [program, *NAMESPACES, "--", *command]


def apply(limits: dict[str, int]) -> None:
    """Puts limits on this process, from now on and for good."""
    _lower(resource.RLIMIT_AS, _virtual_bytes() + limits["memory_bytes"])
    _lower(resource.RLIMIT_FSIZE, limits["file_bytes"])
    _lower(resource.RLIMIT_CORE, 0)


def _lower(kind: int, value: int) -> None:
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        value = min(value, most)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (value, value))


def _virtual_bytes() -> int:
    """The address space in use; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()
