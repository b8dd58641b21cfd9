"""The process that runs a codec apart, as this process sees it: started early, asked to decode, and ended.

It gets a copy of a saved folder and bytes, in a folder of its own (`harness.running.worker_process`). What it answers
is not believed to be well formed. A process with limits that has run a stranger's source is not asked to load anything
else, and nothing more is written into its folder: that source may have changed shipped codecs, and led paths elsewhere.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from safetensors import SafetensorError

from harness.running.decoding_worker import SEED, Message, features_message, features_of, receive, send
from harness.running.worker_process import WorkerProcess, inherited
from lamofcbench.atomic import replacing, write_bytes
from lamofcbench.errors import CodecError, VerificationError, first_line

if TYPE_CHECKING:
    from torch import Tensor

    from harness.running.confinement import Limits
    from lamofcbench.features import FeatureSet

T = TypeVar("T")

START_SECONDS = 300.0
"""For the imports, on a slow disk; and for loading a saved codec."""

MAX_REFUSED = 300
"""Characters of what was refused that are reported."""


class FailedThereError(VerificationError):
    """What was asked raised an error in the process that runs a codec apart, and not for lack of memory or time."""


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
        self._running: WorkerProcess | None = None
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
                self._running = WorkerProcess(self._inherited, self._limits)

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
        from lamofcbench.codecs.saving import copy_folder, read_config

        with self._lock:
            self._leave_stranger()
            self.start()
            assert self._running is not None
            copy = self._running.folder / "codecs" / str(next(self._numbers))
            shutil.rmtree(copy.parent, ignore_errors=True)
            if not saved.is_dir():
                raise VerificationError(f"there is no saved codec {saved}")
            try:
                copy_folder(saved, copy, learned=learned)  # and nothing that an encoder has put beside it
                has_source = read_config(copy)["codec_source"] is not None
            except CodecError as error:
                raise VerificationError(str(error).replace(str(copy), str(saved))) from error
            self._running.runs_stranger = trust_code and has_source and self._limits is not None
            request = {"load": str(copy), "trust_code": trust_code, "threads": threads, "since": since}
            try:
                answer, _ = self._ask(request, b"", START_SECONDS, 0)
            except VerificationError as error:
                raise type(error)(str(error).replace(str(copy), str(saved))) from error
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
        afresh: bool = True,
    ) -> dict[str, Tensor]:
        """What a saved codec learns that knows nothing of what it has learned before; after that it is loaded anew.

        Args:
            saved: its folder.
            calibration: samples, of which the process gets copies.
            sensitivity: a file of the tail's; None for a codec that does not ask for it.
            trust_code: as for `load`.
            threads: of torch.
            seed: of every generator.
            seconds: how long it may take.
            most_bytes: how large what it learns may be.
            afresh: in a process of its own, which knows nothing of what was loaded before and leads no file elsewhere.

        Raises:
            VerificationError: if fitting fails there, ends the process, takes longer or gives more.
            WriteError: if the copies cannot be made.
        """
        with self._lock:
            if afresh:
                self.close()
            self._leave_stranger()
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
                if afresh:
                    self.close()
                shutil.rmtree(folder, ignore_errors=True)

    def _leave_stranger(self) -> None:
        """Ends a process that has run a stranger's source, in whose folder paths may lead anywhere."""
        if self._running is not None and self._running.runs_stranger:
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
            kind = VerificationError if answer.get("memory") is True else FailedThereError
            raise kind(" ".join(str(answer["error"]).split()))
        return answer, content

    def _answered(self, running: WorkerProcess, seconds: float, ask: Callable[[], T]) -> T:
        """What asking comes to; the process ends where it does not answer as it should."""
        try:
            running.wait_at_most(seconds + (0 if running.ready else START_SECONDS))  # for the imports, where they last
            return ask()
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
        except BaseException:  # an interrupt, say: the answer would be taken for that to the next question
            self.close()
            raise


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
