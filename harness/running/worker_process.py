"""The life of a process that runs a codec apart: its environment, a folder of its own, its start and its end.

The environment is made from scratch, so that nothing goes past the bitstream there; home, temporary files and caches
lie in the folder, which goes with the process. What is asked of it is a matter of `harness.running.decoding_process`.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.running.decoding_worker import receive, send
from harness.running.launch import DEBUG
from harness.running.timed_pipe import TimedPipe
from lamofcbench.errors import VerificationError

if TYPE_CHECKING:
    from harness.running.confinement import Limits

_KEPT = {"PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "IMAGEIO_FFMPEG_EXE"}
_KEPT |= {"SYSTEMROOT", "COMSPEC", "PATHEXT"}  # nothing starts on Windows without them
_KEPT_PREFIXES = (
    "LC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "NUMEXPR_", "NPY_", "DNNL_", "ONEDNN_",
    "ATEN_", "CUDA_", "CUBLAS_", "NVIDIA_",
)  # fmt: skip
"""What finds programs and libraries, and what decides the last bits of numbers."""
_LEFT_OUT_SUFFIXES = ("_HOME", "_PATH", "_DIR")
_OWN_FOLDERS = {
    "home": ("HOME", "USERPROFILE"),
    "temporary": ("TMPDIR", "TEMP", "TMP"),
    "cache": (
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME", "TORCH_HOME", "LAMOFCBENCH_CACHE",
        "MPLCONFIGDIR",
    ),
}  # fmt: skip
ENDING_SECONDS = 5.0
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")


def inherited(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that the process gets from this one."""
    return {
        name: value
        for name, value in variables.items()
        if name in _KEPT or (name.startswith(_KEPT_PREFIXES) and not name.endswith(_LEFT_OUT_SUFFIXES))
    }


def import_path() -> list[str]:
    """Where the process may import from: what is installed or named by ``PYTHONPATH``, but no script's folder."""
    named = {os.path.realpath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}
    prefixes = tuple({os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)})
    here = os.path.realpath(Path(__file__).parents[2])
    kept: list[str] = []
    for entry in filter(None, sys.path):
        real = os.path.realpath(entry)
        installed = real.startswith(prefixes) or real == here or real in named
        if (installed or _has_distributions(entry)) and entry not in kept:
            kept.append(str(Path(entry).absolute()))
    return kept


def _has_distributions(entry: str) -> bool:
    try:
        return any(path.suffix in (".dist-info", ".egg-info") for path in Path(entry).iterdir())
    except OSError:
        return False


class WorkerProcess:
    """One life of the process; it ends with `end`, with this object, and with this process, however that ends.

    Args:
        inherited_variables: of its environment, as `inherited` gives them.
        limits: see `harness.running.decoding_process.DecodingProcess`.

    Attributes:
        folder: its own.
        requests: what it reads.
        answers: what it writes.
        end: ends it, once.
        ready: whether it has said so.
        runs_stranger: whether it has been given source that nobody here wrote.
    """

    def __init__(self, inherited_variables: Mapping[str, str], limits: Limits | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="")).resolve()
        for name in ("work", *_OWN_FOLDERS):
            (self.folder / name).mkdir()
        variables = dict(inherited_variables) | dict.fromkeys(_OFFLINE, "1")
        for name, own in _OWN_FOLDERS.items():
            variables |= dict.fromkeys(own, str(self.folder / name))
        script = Path(__file__).with_name("decoding_worker.py")
        errors = None if os.environ.get(DEBUG) else subprocess.DEVNULL
        self.ready = self.runs_stranger = False
        self._owner = os.getpid()
        command = [sys.executable, "-I", str(script)]
        imports_from, enclosure = import_path(), None
        if limits is not None:
            from harness.running.confinement import confined  # which knows of limits that not every system has

            command, enclosure = confined(command), limits.enclosure(imports_from)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            bufsize=0, cwd=self.folder / "work", env=variables, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self.requests, self.answers = TimedPipe(self._process.stdin), TimedPipe(self._process.stdout)
        self._within: list[int] = []
        self.end = weakref.finalize(self, _end, self._process, self._within, self.folder, self._owner)
        with contextlib.suppress(OSError):  # shows at the first request
            limited = None if limits is None else limits.as_message()
            first = {"import_path": imports_from, "since": time.time(), "limits": limited, "enclosure": enclosure}
            send(self.requests, first)

    @property
    def is_mine(self) -> bool:
        """False in a process that was forked since, and once it has ended."""
        return self._owner == os.getpid() and self._process.poll() is None

    def wait_at_most(self, seconds: float) -> None:
        """From now on, for all that is sent and received, which raises TimeoutError after that."""
        self.requests.deadline = self.answers.deadline = time.monotonic() + seconds

    def wait_until_ready(self) -> None:
        """Reads the first answer."""
        if self.ready:
            return
        answer, _ = receive(self.answers, 0)
        if "error" in answer:
            raise VerificationError(f"it does not start: {answer['error']}")
        self._within += _handles_of_children(self._process.pid)  # now: it has not loaded anything yet
        self.ready = True

    def status(self) -> str:
        """How it ended, as the end of a sentence."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=5)
            if code < 0:
                return f" by {signal.Signals(-code).name}"
            return f" with status {code}"
        return ""


def _handles_of_children(pid: int) -> list[int]:
    """Handles by which the children of a process are ended, whatever they do; none where the system has none.

    In namespaces of its own the process is a child of ``unshare`` and the first of its namespace, with which all others
    in it end. It may leave its process group, and undo what ties it to its parent.
    """
    handles = []
    with contextlib.suppress(OSError, AttributeError, ValueError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            handles.append(os.pidfd_open(int(child)))
    return handles


def _end_by(handle: int) -> None:
    """Kills a process by a handle, and waits until it is gone."""
    with contextlib.suppress(OSError, AttributeError, ValueError):  # of a handle that `select` cannot wait for
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [], ENDING_SECONDS)
    with contextlib.suppress(OSError):
        os.close(handle)


def _remove(folder: Path) -> None:
    """Removes a folder, however deep a codec has nested others in it."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["rm", "-rf", "--", str(folder)], check=False, stderr=subprocess.DEVNULL)


def _end(process: subprocess.Popen[bytes], within: Sequence[int], folder: Path, owner: int) -> None:
    """Kills the process with the programs that its codec started, and removes its folder."""
    if os.getpid() != owner:  # forked from it
        return
    for handle in within:
        _end_by(handle)
    if process.returncode is None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    _remove(folder)
