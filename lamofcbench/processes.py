"""Which process is which: whether the one that left something behind, here or on another machine, still runs."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
from pathlib import Path


@functools.cache
def machine() -> str:
    """8 hex digits for what numbers processes: a host since its last start, or a container on it.

    Hosts may share their name, so the system's own identifiers count too, where it has them.
    """
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:  # not Linux, or /proc is hidden
        pass
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


_EXITING = 0x4
"""The kernel's flag of a process that is on its way out: its files, and so its locks, are let go of from then on."""


def is_running(process: int) -> bool:
    """True while a process of this machine runs; one that ends counts as ended before its parent has asked for it."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
    state, _, _, _, _, _, flags, *_ = status.rpartition(")")[2].split()
    return state not in ("Z", "X") and not int(flags) & _EXITING
