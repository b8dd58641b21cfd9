"""What a decoder may reach in the process that decodes apart: an audit hook that knows what is allowed.

Python reports what its own functions open, list, connect to and import. The hook refuses what leads out of the process:
files that are neither the interpreter's, a package's nor the process's own; files that were changed since the run
began; the network; named shared memory; the data and models that come with this package. To a decoder such a file is
simply not there.

This finds codecs that carry something past the bitstream, by mistake or by a plain trick. It is no sandbox: native code
and the programs that a decoder starts are not watched, and Python code that sets out to get around a hook can.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DATA_EVENT = "lamofcbench.data"
"""Raised by the library where a scenario's data are looked for."""
MODEL_EVENT = "lamofcbench.model"
"""Raised by the library where a split model is loaded."""
SHIPPED = ("dataset_builders.mini", "dataset_builders.small")
"""The packages that make the test splits of editions which come with this one: raw samples, and weights of the models
whose features they are of."""
_ROOT = Path(__file__).parents[2]
SHIPPED_FOLDERS = tuple(str(_ROOT.joinpath(*package.split("."))) for package in SHIPPED)
"""Where these are."""

MAX_REFUSALS = 3
MAX_SHOWN = 200
"""Characters of a refused path that are reported."""

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/nix", "/System", "/Library")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_KERNEL = ("/sys", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/version", "/proc/sys")
_MODULES = (".py", ".pyc", ".so", ".pyd", ".dll", ".dylib")
_METADATA = (".dist-info", ".egg-info")

_LISTINGS = ("os.listdir", "os.scandir")
_PATHS = {
    "open": (0,),
    **dict.fromkeys(_LISTINGS, (0,)),
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.getxattr": (0,),
    "os.listxattr": (0,),
    "sqlite3.connect": (0,),
}
"""Which arguments of an event are paths that lead to content."""
_NETWORK = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}
_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}


class Isolation:
    """An audit hook; see the module.

    Args:
        own: the process's own folder, where everything is allowed.
        import_path: folders that modules are imported from.
        since: seconds since the epoch; what was changed later is not read.

    Attributes:
        refusals: what was refused, until somebody takes it.
    """

    def __init__(self, own: Path, import_path: Sequence[str], since: float) -> None:
        self._free = _resolved([str(own), "/proc/self", *_KERNEL, *_DEVICES])
        self._installed = _resolved([sys.prefix, sys.base_prefix, sys.exec_prefix, *_SYSTEM])
        self._import_path = _resolved(import_path)
        self._shipped = _resolved(SHIPPED_FOLDERS)
        self._started = self._since = since
        self.refusals: list[str] = []

    def look_back(self, since: float | None) -> None:
        """Reads nothing that was changed after that time either, where it is earlier; None for no such time."""
        self._since = self._started if since is None else min(self._started, since)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The hook."""
        refusal = self.refusal(event, arguments)
        if refusal is not None:
            if len(self.refusals) < MAX_REFUSALS and str(refusal) not in self.refusals:
                self.refusals.append(str(refusal))
            raise refusal

    def refusal(self, event: str, arguments: tuple[Any, ...]) -> OSError | ImportError | None:
        """The error that an event ends in; None where it is allowed."""
        if event in _PATHS:
            for position in _PATHS[event]:
                path = arguments[position] if position < len(arguments) else None
                if not self._may_read(path) and not (event in _LISTINGS and self._may_import_from(path)):
                    return _not_there(path)
        elif event == "import":
            return self._import_refusal(str(arguments[0]), arguments[1])
        elif event == "ctypes.dlopen":
            name = arguments[0]
            if isinstance(name, (str, bytes)) and os.sep in os.fsdecode(name) and not self._may_read(name):
                return _not_there(name)
        elif event in _NETWORK:
            address = arguments[1] if len(arguments) > 1 else None
            if not isinstance(address, (str, bytes)) or not self._may_read(address):
                return ConnectionRefusedError(errno.ECONNREFUSED, f"a decoder has no network: {_shown(address)}")
        elif event in _LOOKUPS:
            return ConnectionRefusedError(errno.ECONNREFUSED, f"a decoder has no network: {_shown(arguments[0])}")
        elif event in (DATA_EVENT, MODEL_EVENT):
            what = "data" if event == DATA_EVENT else "model"
            return PermissionError(errno.EACCES, f"a decoder has no access to the {what} of {_shown(arguments[0])}")
        return None

    def _import_refusal(self, module: str, file: Any) -> OSError | ImportError | None:
        for package in SHIPPED:
            if module == package or module.startswith(package + "."):
                return ModuleNotFoundError(f"a decoder has no access to {package}", name=module)
        return None if self._may_read(file) else _not_there(file)

    def _may_read(self, path: Any) -> bool:
        if path is None or isinstance(path, int):  # the working folder, or what is open already
            return True
        text = os.fsdecode(path)
        if "\0" in text:  # an abstract socket, or an error to come
            return False
        real = os.path.realpath(text)
        if _within(real, self._free):
            return True
        if _within(real, self._shipped) or not (_within(real, self._installed) or self._of_a_package(real)):
            return False
        return not self._changed(real)

    def _may_import_from(self, folder: Any) -> bool:
        real = os.path.realpath(os.fsdecode(folder))
        return _within(real, self._import_path) and not _within(real, self._shipped)

    def _of_a_package(self, real: str) -> bool:
        """Modules, packages with what they bring, and metadata; not what else lies in such a folder, results say."""
        for entry in self._import_path:
            if not _within(real, [entry]):
                continue
            if real == entry or real.endswith(_MODULES):
                return True
            for folder in (Path(real), *Path(real).parents):
                if str(folder) == entry:
                    break
                if folder.suffix in _METADATA or (folder / "__init__.py").is_file():
                    return True
        return False

    def _changed(self, real: str) -> bool:
        """A file whose content came after the run had begun: an encoder may have left it."""
        try:
            status = Path(real).stat()
        except OSError:
            return False
        return not stat.S_ISDIR(status.st_mode) and self._since <= status.st_mtime <= time.time() + 1


def forbid_shared_memory(isolation: Isolation) -> None:
    """Lets `multiprocessing.shared_memory` open only what this process made, as that raises no audit event."""
    try:
        import _posixshmem
    except ImportError:
        return
    original, made = _posixshmem.shm_open, set[str]()

    def shm_open(path: str, flags: int, mode: int = 0o777) -> int:
        if path not in made and not (flags & os.O_CREAT and flags & os.O_EXCL):
            isolation.refusals.append(f"shared memory {_shown(path)}")
            raise _not_there(path)
        made.add(path)
        return int(original(path, flags, mode))

    _posixshmem.shm_open = shm_open


def report_safetensors() -> None:
    """Lets safetensors report what it opens as Python does: it is native code, and what codecs keep tables in."""
    import safetensors.numpy
    import safetensors.torch

    original = safetensors.safe_open

    def safe_open(filename: Any, *arguments: Any, **options: Any) -> Any:
        sys.audit("open", filename, "rb", 0)
        return original(filename, *arguments, **options)

    for module in (safetensors, safetensors.numpy, safetensors.torch):
        vars(module)["safe_open"] = safe_open


def _not_there(path: Any) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "a decoder has no access to it", _shown(path))


def _shown(value: Any) -> str:
    text = os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _resolved(paths: Sequence[str]) -> tuple[str, ...]:
    real = (os.path.realpath(path) for path in paths if path)
    return tuple(path for path in real if Path(path).parent != Path(path))  # a prefix of / would allow everything


def _within(real: str, folders: Sequence[str]) -> bool:
    return any(real == folder or real.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)
