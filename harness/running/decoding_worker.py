"""Program that runs a codec for another process, from a saved folder and what it is sent; `decoding_process` starts it.

Usage: ``python -I decoding_worker.py``, in a folder of its own. Messages come on standard input and go to standard
output, and nothing else does: before any codec is loaded, both are moved where codecs do not write. A message is its
lengths, a JSON object and raw bytes, because neither side may have to believe what the other sends. Requests are::

    {"import_path": [...], "since": s,
     "limits": {...} or null, "enclosure": {...} or null}  -> {}, once all is imported, isolated and limited
    {"load": folder, "trust_code": b, "threads": n,
     "since": s or null}                                   -> {"fingerprint": hex, "trained_on": class, "lossless": b,
                                                               "needs_calibration": b, "needs_sensitivity": b,
                                                               "rate_points": [{...}...] or null}
    {"decode": seconds} and the bitstream                  -> {"tensors": [[name, dtype, shape]...], "side": {...}} and
                                                              the tensors' bytes one after the other
    {"encode": seconds, "seeds": [...] or null,
     "tensors": ..., "side": ...} and the tensors' bytes    -> {} and the bitstream
    {"quantise": seconds, ...} likewise                    -> as for decode; {"tensors": null} where it cannot tell
    {"fit": seconds, "seed": n, "samples": file of such
     messages, "sensitivity": file or null}                -> {} and what the codec has learned, as safetensors

Where one fails the answer is ``{"error": text, "memory": whether that was what it lacked}``. Every answer has
``refused``, what isolation kept from the codec. The program ends with its input, in the middle of a decode too, and
removes its folder.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import shutil
import struct
import sys
import threading
import time
from collections.abc import Iterator
from io import BufferedReader, BufferedWriter
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from harness.running.isolation import Isolation
    from lamofcbench.features import FeatureSet

_LENGTHS = struct.Struct("<QQ")
MAX_MESSAGE_BYTES = 2**22
MAX_NESTING = 50
"""Of lists and objects in a message; parameters may hold objects of objects."""
MAX_ERROR = 2000
GRACE_SECONDS = 30.0
"""How long after its time has run out a decode ends by itself, should nobody be left to end it; twice that at most."""
IDLE_SECONDS = 1.0
"""Without a request, after which nothing has to end."""
_COMPILED_FOLDER = "NUMBA_CACHE_DIR"
SEED = 2**63
"""Of every generator before each decode: one that no run can have, since a decoder gets the bytes and no seed."""

Message = dict[str, Any]


class Readable(Protocol):
    """What messages come from: a file, or a pipe."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Reads some bytes; returns how many, 0 at the end."""


class Writable(Protocol):
    """What messages go to."""

    def write(self, buffer: memoryview, /) -> int:
        """Writes some bytes; returns how many."""

    def flush(self) -> object:
        """Holds nothing back."""


def send(file: Writable, message: Message, data: bytes = b"") -> None:
    """Writes a message.

    Raises:
        OSError: if nobody reads.
    """
    text = json.dumps(message).encode()
    for part in (_LENGTHS.pack(len(text), len(data)) + text, data):
        view = memoryview(part)
        while view:
            view = view[file.write(view) :]
    file.flush()


def receive(file: Readable, most_bytes: int | None = None) -> tuple[Message, bytearray]:
    """Reads a message.

    Args:
        file: where from.
        most_bytes: of raw bytes; None for any number, from a sender that is believed.

    Raises:
        EOFError: at the end of the stream.
        ValueError: if it is no such message, or nested deeper than one is, before anything large is read.
    """
    text_bytes, data_bytes = _LENGTHS.unpack(_exactly(file, _LENGTHS.size))
    if text_bytes > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {text_bytes} bytes")
    if most_bytes is not None and data_bytes > most_bytes:
        raise ValueError(f"{data_bytes} bytes of features where there are {most_bytes}")
    try:
        message = json.loads(_exactly(file, text_bytes))
    except RecursionError as error:
        raise ValueError("a message that is nested too deep") from error
    if not isinstance(message, dict):
        raise ValueError(f"a message that is a {type(message).__name__}")
    if _is_nested_beyond(message, MAX_NESTING):
        raise ValueError("a message that is nested too deep")  # to be compared, or written, where the stack is higher
    return message, _exactly(file, data_bytes)


def _is_nested_beyond(value: Any, levels: int) -> bool:
    """Whether more lists and objects lie within each other."""
    held = [value]
    for _ in range(levels):
        inner = (one.values() if isinstance(one, dict) else one for one in held if isinstance(one, (dict, list)))
        held = [each for one in inner for each in one if isinstance(each, (dict, list))]
        if not held:
            return False
    return True


def _exactly(file: Readable, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        read = file.readinto(view)
        if not read:
            raise EOFError("the stream ended")
        view = view[read:]
    return data


def main() -> None:
    """Answers requests until there are no more."""
    requests, answers = _private_streams()
    settings, _ = receive(requests)
    sys.path[:] = settings["import_path"]
    sys.dont_write_bytecode = True
    try:
        own = Path.cwd().parent
        isolation = _isolated(own, settings)
    except BaseException as error:
        send(answers, {"error": _described(error), "refused": []})
        return
    send(answers, {"refused": []})
    waiting: SimpleQueue[tuple[Message, bytearray]] = SimpleQueue()
    threading.Thread(target=_read_on, args=(requests, waiting, own), daemon=True).start()
    _serve(waiting, answers, isolation)


def _private_streams() -> tuple[BufferedReader, BufferedWriter]:
    """Standard input and output under other numbers; what codecs read from the one and print to the other is lost."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _isolated(own: Path, settings: Message) -> Isolation:
    """Imports what every decoder needs, then closes the door."""
    if settings.get("enclosure") is not None:
        from harness.running import enclosure

        enclosure.close_off(own, **settings["enclosure"])  # before anything starts a thread
    from harness.running import environment, isolation  # noqa: F401
    from lamofcbench.codecs.rans import compiling
    from lamofcbench.codecs.registry import CODECS

    CODECS.names()
    compiling.prepare()
    _compile_into(os.environ.get("XDG_CACHE_HOME", str(own)))
    if settings.get("limits") is not None:
        from harness.running import confinement  # which knows of limits that not every system has

        confinement.apply(settings["limits"])
    rules = isolation.Isolation(own, settings["import_path"], settings["since"])
    isolation.forbid_shared_memory(rules)
    isolation.report_safetensors()
    sys.addaudithook(rules)
    return rules


def _compile_into(folder: str) -> None:
    """From here on numba keeps what codecs compile in this folder, and not beside their source."""
    os.environ[_COMPILED_FOLDER] = folder
    with contextlib.suppress(ImportError):
        from numba import config

        config.CACHE_DIR = folder  # type: ignore[attr-defined]  # made when numba is imported


def _read_on(requests: Readable, waiting: SimpleQueue[tuple[Message, bytearray]], own: Path) -> None:
    """Reads ahead, so that the end of the input is noticed while a codec decodes, or hangs."""
    try:
        while True:
            waiting.put(receive(requests))
    except (EOFError, OSError, ValueError):
        with contextlib.suppress(OSError):
            os.chdir(own)  # isolation resolves names, which takes a working folder until all is gone
        shutil.rmtree(own, ignore_errors=True)
        os._exit(0)


def _serve(waiting: SimpleQueue[tuple[Message, bytearray]], answers: Writable, isolation: Isolation) -> None:
    codec: Any = None
    with Path(os.devnull).open("w") as nowhere:
        watchdog = _Watchdog(nowhere)
        while True:
            try:
                request, data = waiting.get(timeout=IDLE_SECONDS)
            except Empty:
                watchdog.rest()
                request, data = waiting.get()
            isolation.refusals.clear()
            answer: Message
            payload = b""
            try:
                if "load" in request:
                    watchdog.rest()  # who asked for it waits as long as that may take
                    isolation.look_back(request["since"])
                    codec, answer = _load(request)
                else:
                    name, stage = next((name, stage) for name, stage in _STAGES.items() if name in request)
                    watchdog.allow(request[name])
                    answer, payload = stage(codec, request, data)
            except BaseException as error:  # a codec may even raise SystemExit
                from lamofcbench.errors import lacks_memory

                answer, payload = {"error": _described(error), "memory": lacks_memory(error)}, b""
            send(answers, answer | {"refused": isolation.refusals[:]}, payload)


class _Watchdog:
    """Ends this process when a request takes too long, even one that never lets another thread of Python run.

    A timer is a thread that starts and ends, which takes longer than many a sample. So one timer serves all requests
    that come one upon the other: it is set anew only once it would end the next one too soon.

    Args:
        report: takes where the process was, as it ends.
    """

    def __init__(self, report: TextIO) -> None:
        self._ends, self._report = 0.0, report

    def allow(self, seconds: float) -> None:
        """From now on so long, and `GRACE_SECONDS` to twice that on top."""
        now = time.monotonic()
        earliest, latest = (now + seconds + grace for grace in (GRACE_SECONDS, 2 * GRACE_SECONDS))
        if not earliest <= self._ends <= latest:
            faulthandler.dump_traceback_later(latest - now, exit=True, file=self._report)
            self._ends = latest

    def rest(self) -> None:
        """For any time."""
        faulthandler.cancel_dump_traceback_later()
        self._ends = 0.0


def _load(request: Message) -> tuple[Any, Message]:
    import torch

    from lamofcbench.codecs.registry import load_saved

    torch.set_num_threads(request["threads"])
    codec = load_saved(request["load"], trust_code=request["trust_code"])
    return codec, {"fingerprint": codec.fingerprint.hex(), **facts_of(codec)}


def facts_of(codec: Any) -> Message:
    """What a codec says of itself; no rate points where its own do not fit its parameters."""
    from lamofcbench.codecs.params import to_plain

    points = None
    with contextlib.suppress(Exception):
        points = [to_plain(codec.make_params(point)) for point in codec.rate_points]
    return {
        "trained_on": str(codec.trained_on),
        "lossless": bool(codec.lossless),
        "needs_calibration": bool(codec.needs_calibration),
        "needs_sensitivity": bool(codec.needs_sensitivity),
        "rate_points": points,
    }


def _decode(codec: Any, request: Message, data: bytearray) -> tuple[Message, bytes]:
    _prepare(codec, [SEED])
    return features_message(codec.decode(bytes(data)))


def _encode(codec: Any, request: Message, data: bytearray) -> tuple[Message, bytes]:
    _prepare(codec, request["seeds"])
    return {}, codec.encode(features_of(request, data))


def _quantise(codec: Any, request: Message, data: bytearray) -> tuple[Message, bytes]:
    _prepare(codec, [SEED])
    quantised = codec.quantised(features_of(request, data))
    return ({"tensors": None}, b"") if quantised is None else features_message(quantised)


def _fit(codec: Any, request: Message, data: bytearray) -> tuple[Message, bytes]:
    from safetensors.torch import save

    from lamofcbench.codecs.sensitivity import Sensitivity

    known = request["sensitivity"] and Sensitivity.load(Path(request["sensitivity"]), codec.specs)
    _prepare(codec, [request["seed"]])
    return {}, save(dict(codec.fit(_Samples(request["samples"]), known).state))


class _Samples:
    """The feature sets of a file of messages, read anew at each pass."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __iter__(self) -> Iterator[FeatureSet]:
        with Path(self._file).open("rb") as file, contextlib.suppress(EOFError):
            while True:
                yield features_of(*receive(file))


_STAGES = {"decode": _decode, "encode": _encode, "quantise": _quantise, "fit": _fit}


def _prepare(codec: Any, seeds: list[int] | None) -> None:
    """Seeds every generator; None leaves them where the sample before has left them."""
    from harness.running import environment

    if codec is None:
        raise RuntimeError("no codec is loaded")
    if seeds is not None:
        environment.seed_everything(*seeds)


def features_message(features: FeatureSet) -> tuple[Message, bytes]:
    """A feature set as a message and raw bytes."""
    from lamofcbench.features import tensor_bytes

    tensors = [
        [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        for name, tensor in features.tensors.items()
    ]
    payload = b"".join(map(tensor_bytes, features.tensors.values()))
    return {"tensors": tensors, "side": dict(features.side)}, payload


def features_of(message: Message, content: bytearray) -> FeatureSet:
    """The feature set of a message.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError: if it is none.
    """
    import math

    import torch

    from lamofcbench.features import TORCH_DTYPES, FeatureSet

    tensors, at = {}, 0
    for name, dtype_name, shape in message["tensors"]:
        dtype, sizes = TORCH_DTYPES[dtype_name], [int(size) for size in shape]
        if any(size < 0 for size in sizes):
            raise ValueError(f"a shape of {sizes}")
        count = math.prod(sizes)
        if count:
            tensors[str(name)] = torch.frombuffer(content, dtype=dtype, count=count, offset=at).reshape(sizes)
        elif math.prod(max(size, 1) for size in sizes) >= 2**63:  # of which torch has no tensor, though it is empty
            raise ValueError(f"a shape of {sizes}")
        else:
            tensors[str(name)] = torch.empty(sizes, dtype=dtype)
        at += count * dtype.itemsize
    if at != len(content):
        raise ValueError(f"{len(content)} bytes for {at}")
    return FeatureSet(tensors, {str(name): int(value) for name, value in message["side"].items()})


def _described(error: BaseException) -> str:
    """An error in one line; those raised on purpose say what they are themselves."""
    try:
        from lamofcbench.errors import LaMoFCBenchError

        text = str(error) if isinstance(error, LaMoFCBenchError) else f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    return " ".join(text.split())[:MAX_ERROR]


if __name__ == "__main__":
    main()
