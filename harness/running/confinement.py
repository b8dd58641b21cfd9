"""Limits on a process that decodes for a stranger: memory, sizes of files, no network, and no disk but its own.

The first two are limits of the system (`resource.setrlimit`), which the process puts on itself before it loads
anything; programs that it starts inherit them. Network and disk are taken away by namespaces of its own, through the
program ``unshare``, where the machine has one, and `harness.running.enclosure`. What could not be done is told
(`unconfined`, `shares_disk`). Time is limited request by request, see `harness.running.decoding_process`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.running import enclosure
from harness.running.isolation import SHIPPED_FOLDERS
from lamofcbench.codecs.rans import compiling

NETWORK = ("--user", "--map-root-user", "--net")
DISK = (*NETWORK, *enclosure.NAMESPACES)

_FILLED = (
    "HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "TORCH_HOME", "LAMOFCBENCH_CACHE",
    "LAMOFCBENCH_SOURCES",
)  # fmt: skip
"""Variables that name a folder which others fill, with test samples too; a decoder has folders of its own."""
_SYSTEM = ("usr", "lib", "lib32", "lib64", "libx32", "bin", "sbin", "nix", "proc", "sys", "dev")
"""The folders of the root that hold programs, libraries and what the kernel tells; all others are hidden."""
_OF_LIBRARIES = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd",
    "/etc/group", "/etc/mime.types", "/etc/alternatives",
)  # fmt: skip
"""What programs and libraries read beside."""
_PROGRAMS = ("PATH", "LD_LIBRARY_PATH", "IMAGEIO_FFMPEG_EXE")
_ROOT = Path(__file__).resolve().parents[2]
_CHECKOUT = _ROOT / "pyproject.toml"
"""Which lies beside much that is nobody's business."""


@dataclass(frozen=True)
class Limits:
    """What the process may use.

    Attributes:
        memory_bytes: beyond what it takes before anything is loaded.
        file_bytes: of the largest file that it may write.
        hidden: folders that it does not see, though they may lie in one that it does.
    """

    memory_bytes: int = 8 * 2**30
    file_bytes: int = 2**30
    hidden: tuple[str, ...] = ()

    def as_message(self) -> dict[str, int]:
        """For `apply` in the process."""
        return {"memory_bytes": self.memory_bytes, "file_bytes": self.file_bytes}

    def enclosure(self, import_path: Sequence[str]) -> dict[str, Any] | None:
        """For `harness.running.enclosure.close_off` in the process; None where it has no disk of its own.

        Args:
            import_path: folders that it imports from.
        """
        if shares_disk():
            return None
        filled = [os.environ.get(name, "") for name in _FILLED]
        roots = [entry.path for entry in os.scandir("/") if entry.is_dir(follow_symlinks=False)]
        others = [path for path in roots if path[1:] not in _SYSTEM]
        hidden = [*others, tempfile.gettempdir(), *filled, *SHIPPED_FOLDERS, *self.hidden]
        programs = [entry for name in _PROGRAMS for entry in os.environ.get(name, "").split(os.pathsep)]
        prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.realpath(sys.executable)]
        visible = [*prefixes, *_packages(import_path), *programs, *_OF_LIBRARIES]
        compiling.prepare()  # here, where it is kept: the process would compile whenever it starts
        return {
            "visible": [path for path in visible if Path(path).is_absolute()],
            "hidden": [path for path in hidden if Path(path).is_absolute()],
            "copied": sorted({str(path.parent / "__pycache__") for path in map(_source_of, compiling.MODULES)}),
            "most_bytes": self.file_bytes,
        }


def _packages(import_path: Sequence[str]) -> list[str]:
    """What is imported from: folders as they are, of a checkout of this project its packages alone."""
    found = [path for path in import_path if os.path.realpath(path) != str(_ROOT) or not _CHECKOUT.is_file()]
    return [*found, *(str(_ROOT / name) for name in ("lamofcbench", "harness", "dataset_builders"))]


def _source_of(module: str) -> Path:
    return Path(str(sys.modules[module].__file__))


def unconfined() -> str:
    """Why the network cannot be taken away from a process on this machine; empty where it can."""
    if shutil.which("unshare") is None:
        return "this machine has no program unshare, so the decoder was not cut off from the network"
    if not _namespaces():
        return "this machine lets nobody make namespaces, so the decoder was not cut off from the network"
    return ""


def shares_disk() -> str:
    """Why a process cannot get a disk of its own on this machine; empty where it can."""
    if _namespaces() == DISK:
        return ""
    return "this machine gives nobody a disk of its own, so a decoder could read what another had left there"


@functools.cache
def _namespaces() -> tuple[str, ...]:
    """All that the machine lets a process have."""
    program = shutil.which("unshare")
    if program is None:
        return ()
    with tempfile.TemporaryDirectory() as folder:
        probe = [sys.executable, "-I", "-S", enclosure.__file__, os.path.realpath(folder)]
        for namespaces, command in ((DISK, probe), (NETWORK, ["true"])):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                done = subprocess.run([program, *namespaces, "--", *command], capture_output=True, timeout=30)
                if done.returncode == 0:
                    return namespaces
    return ()


def confined(command: list[str]) -> list[str]:
    """The command in namespaces of its own; as it is where there are none."""
    program, namespaces = shutil.which("unshare"), _namespaces()
    return [program, *namespaces, "--", *command] if program is not None and namespaces else command


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
