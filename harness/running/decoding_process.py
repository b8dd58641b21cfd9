"""The process that runs a codec apart, as this process sees it: started early, asked to decode, and ended.

It gets a copy of a saved folder and bytes, and a folder of its own for everything else: home, temporary files, caches.
Its environment is made from scratch, and what it answers is not believed to be well formed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError

from harness.running.decoding_worker import SEED, Message, features_message, features_of, receive, send
from harness.running.launch import DEBUG
from lamofcbench.atomic import replacing, write_bytes
from lamofcbench.errors import CodecError, VerificationError, first_line

if TYPE_CHECKING:
    from torch import Tensor

    from harness.running.confinement import Limits
    from lamofcbench.features import FeatureSet

T = TypeVar("T")

START_SECONDS = 300.0
"""For the imports, on a slow disk; and for loading a saved codec."""

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
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
MAX_REFUSED = 300
"""Characters of what was refused that are reported."""


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


class DecodingProcess:
    """Decodes what others encoded, in a process of its own that knows nothing but a saved folder and the bytes.

    It is started by `start`, in the background, or at first need; after a codec has ended it, again at the next need.
    It ends with `close`, with this object and with this process, however that ends.

    Args:
        limits: what a stranger's codec may use; the process then also has no network and no disk but its own folder,
            where the machine can see to that. None for a codec that is run here anyway.

    Attributes:
        refused: what isolation kept from the codec during the last request.
        facts: what the codec that was loaded last says of itself, see `harness.running.decoding_worker.facts_of`; it
            may be anything, and lack anything.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits
        self._inherited = inherited(os.environ)  # now: an encoder may write its payload there
        self._lock = threading.RLock()
        self._running: _Running | None = None
        self._numbers = itertools.count()
        self.refused: list[str] = []
        self.facts: Message = {}

    def __enter__(self) -> DecodingProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_running(self) -> bool:
        """Whether there is a process: it may have ended with its codec."""
        return self._running is not None and self._running.is_mine

    def start(self) -> None:
        """Starts the process, unless it runs; returns at once."""
        with self._lock:
            if self._running is None or not self._running.is_mine:
                self._running = _Running(self._inherited, self._limits)

    def ready(self) -> None:
        """Starts the process, unless it runs, and waits until it has imported what it needs.

        Raises:
            VerificationError: if it does not start.
        """
        with self._lock:
            self.start()
            assert self._running is not None
            self._answered(self._running, START_SECONDS, self._running.wait_until_ready)

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            if self._running is not None:
                self._running.end()
            self._running = None

    def load(
        self, saved: Path, *, trust_code: bool, threads: int = 1, since: float | None = None, learned: bool = True
    ) -> str:
        """Loads a copy of a saved folder, whose codec then decodes; returns its fingerprint, in hex.

        Args:
            saved: the folder.
            trust_code: allow it to run the Python source that came with it.
            threads: of torch.
            since: when encoding began, in seconds since the epoch, where that was before this process started: files
                that were changed later are not read.
            learned: with what the codec has learned; else as it was before.

        Raises:
            VerificationError: if the codec does not load there, or not in time.
        """
        from lamofcbench.codecs.saving import copy_folder

        with self._lock:
            self.start()
            assert self._running is not None
            copy = self._running.folder / "codecs" / str(next(self._numbers))
            shutil.rmtree(copy.parent, ignore_errors=True)
            if not saved.is_dir():
                raise VerificationError(f"there is no saved codec {saved}")
            try:
                copy_folder(saved, copy, learned=learned)  # and nothing that an encoder has put beside it
            except CodecError as error:
                raise VerificationError(str(error)) from error
            request = {"load": str(copy), "trust_code": trust_code, "threads": threads, "since": since}
            try:
                answer, _ = self._ask(request, b"", START_SECONDS, 0)
            except VerificationError as error:
                raise VerificationError(str(error).replace(str(copy), str(saved))) from error
            self.facts = {name: value for name, value in answer.items() if name not in ("fingerprint", "refused")}
            return str(answer.get("fingerprint"))

    def decode(self, data: bytes, *, seconds: float, most_bytes: int) -> FeatureSet:
        """The features of a bitstream, by the codec that was loaded last.

        Args:
            data: the bitstream.
            seconds: how long it may take.
            most_bytes: how large the features may be, uncoded.

        Raises:
            VerificationError: if decoding fails there, ends the process, takes longer or gives more.
        """
        with self._lock:
            return self._features(*self._ask({"decode": seconds}, data, seconds, most_bytes))

    def _features(self, answer: Message, content: bytearray) -> FeatureSet:
        try:
            return features_of(answer, content)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            self.close()
            raise VerificationError(f"it answers with what are no features ({error})") from error

    def encode(
        self, features: FeatureSet, *, seconds: float, most_bytes: int, seeds: Sequence[int] | None = (SEED,)
    ) -> bytes:
        """The bitstream of features, by the codec that was loaded last.

        Args:
            features: to encode.
            seconds: how long it may take.
            most_bytes: how long the bitstream may be.
            seeds: of every generator; None to leave them where the last request has left them.

        Raises:
            VerificationError: if encoding fails there, ends the process, takes longer or gives more.
        """
        message, payload = features_message(features)
        with self._lock:
            request = {"encode": seconds, "seeds": None if seeds is None else list(seeds), **message}
            _, content = self._ask(request, payload, seconds, most_bytes)
            return bytes(content)

    def quantised(self, features: FeatureSet, *, seconds: float, most_bytes: int) -> FeatureSet | None:
        """What the quantiser alone makes of features; None where the codec cannot tell. Arguments as for `encode`."""
        message, payload = features_message(features)
        with self._lock:
            answer, content = self._ask({"quantise": seconds, **message}, payload, seconds, most_bytes)
            return None if answer.get("tensors") is None else self._features(answer, content)

    def fit(
        self,
        saved: Path,
        calibration: Iterable[FeatureSet],
        sensitivity: Path | None,
        *,
        trust_code: bool,
        threads: int,
        seed: int,
        seconds: float,
        most_bytes: int,
    ) -> dict[str, Tensor]:
        """What a saved codec learns, in a process of its own that knows nothing of what the saved one has learned.

        Args:
            saved: its folder.
            calibration: samples, of which the process gets copies.
            sensitivity: a file of the tail's; None for a codec that does not ask for it.
            trust_code: as for `load`.
            threads: of torch.
            seed: of every generator.
            seconds: how long it may take.
            most_bytes: how large what it learns may be.

        Raises:
            VerificationError: if fitting fails there, ends the process, takes longer or gives more.
            WriteError: if the copies cannot be made.
        """
        with self._lock:
            self.close()
            self.ready()
            assert self._running is not None
            folder = self._running.folder / "calibration"  # filled before a stranger's code could lead it elsewhere
            file = None if sensitivity is None else folder / "sensitivity"
            with replacing(folder / "samples") as samples, samples.open("wb") as stream:
                for features in calibration:
                    send(stream, *features_message(features))
            if file is not None and sensitivity is not None:
                write_bytes(file, sensitivity.read_bytes())
            try:
                self.load(saved, trust_code=trust_code, threads=threads, learned=False)
                given = {"samples": str(folder / "samples"), "sensitivity": file and str(file)}
                _, content = self._ask({"fit": seconds, "seed": seed, **given}, b"", seconds, most_bytes)
                return _state_of(content)
            finally:
                self.close()

    def _ask(self, request: Message, data: bytes, seconds: float, most_bytes: int) -> tuple[Message, bytearray]:
        running = self._running
        if running is None:
            raise VerificationError("it has no codec any more")

        def ask() -> tuple[Message, bytearray]:
            running.wait_until_ready()
            send(running.requests, request, data)
            return receive(running.answers, most_bytes)

        answer, content = self._answered(running, seconds, ask)
        refused = answer.get("refused")
        self.refused = [str(what)[:MAX_REFUSED] for what in refused] if isinstance(refused, list) else []
        if "error" in answer:
            raise VerificationError(" ".join(str(answer["error"]).split()))
        return answer, content

    def _answered(self, running: _Running, seconds: float, ask: Callable[[], T]) -> T:
        """What asking comes to; the process ends where it does not answer as it should."""
        try:
            # The imports have a time of their own.
            return _within(seconds + (0 if running.ready else START_SECONDS), ask)
        except TimeoutError as error:
            self.close()
            raise VerificationError(f"it has not answered after {seconds:.3g} s") from error
        except ValueError as error:
            self.close()
            raise VerificationError(f"it answers with {error}") from error
        except (EOFError, OSError) as error:
            status = running.status()
            self.close()
            raise VerificationError(f"the process ends{status}") from error


class _Running:
    """One life of the process.

    Attributes:
        folder: its own.
        ready: whether it has said so.
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
        self.ready = False
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
        self.requests: IO[bytes] = self._process.stdin
        self.answers: IO[bytes] = self._process.stdout
        self.end = weakref.finalize(self, _end, self._process, self.folder, self._owner)
        with contextlib.suppress(OSError):  # shows at the first request
            limited = None if limits is None else limits.as_message()
            first = {"import_path": imports_from, "since": time.time(), "limits": limited, "enclosure": enclosure}
            send(self.requests, first)

    @property
    def is_mine(self) -> bool:
        """False in a process that was forked since, and once it has ended."""
        return self._owner == os.getpid() and self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Reads the first answer."""
        if self.ready:
            return
        answer, _ = receive(self.answers, 0)
        if "error" in answer:
            raise VerificationError(f"it does not start: {answer['error']}")
        self.ready = True

    def status(self) -> str:
        """How it ended, as the end of a sentence."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=5)
            if code < 0:
                return f" by {signal.Signals(-code).name}"
            return f" with status {code}"
        return ""


def _state_of(content: bytearray) -> dict[str, Tensor]:
    """The named tensors of a safetensors answer.

    Raises:
        VerificationError: if it is none, or of dtypes and shapes that torch has no tensors of.
    """
    from safetensors.torch import load

    try:
        return load(bytes(content))
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise VerificationError(f"it answers with what is no state ({first_line(error)})") from error


def _end(process: subprocess.Popen[bytes], folder: Path, owner: int) -> None:
    """Kills the process with the programs that its codec started, and removes its folder."""
    if os.getpid() != owner:  # forked from it
        return
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
    shutil.rmtree(folder, ignore_errors=True)


def _within(seconds: float, work: Callable[[], T]) -> T:
    """What the work returns, on a thread that is left alone if it takes longer.

    Raises:
        TimeoutError: if it does.
    """
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError
    result, error = outcome[0]
    if error is not None:
        raise error
    return result
