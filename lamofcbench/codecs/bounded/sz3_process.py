"""A process that decodes SZ3 streams for this one: started at first use, kept, and replaced when it has ended."""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamofcbench.codecs.bounded.sz3_worker import DECODED, READY, REQUEST
from lamofcbench.errors import BitstreamError, CodecError

_LOCK = threading.Lock()
_WORKERS: dict[int, _Worker] = {}
"""The process that decodes for each process id: a forked process must not talk over its parent's pipes."""


def decode_elsewhere(stream: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The values of an SZ3 stream, float32 of this shape, which has one or two dimensions.

    Raises:
        BitstreamError: if the decoder crashed over the stream, or took too much time or memory.
        CodecError: if the process cannot be started.
    """
    with _LOCK:
        key = os.getpid()
        if key not in _WORKERS:
            _WORKERS.clear()
            _WORKERS[key] = _Worker()
        try:
            values = _WORKERS[key].decode(stream, shape)
        except OSError as error:
            _WORKERS.pop(key).close()
            raise BitstreamError(f"the process that decodes SZ3 ended: {error}") from error
    if values is None:
        raise BitstreamError("no SZ3 stream of this shape: its decoder crashed or took too much time or memory")
    return values


class _Worker:
    """The process that decodes for this one; it ends when its input does."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        script = Path(__file__).with_name("sz3_worker.py")
        paths = json.dumps([str(Path(entry).resolve()) for entry in sys.path if entry])
        command = [sys.executable, "-I", str(script), paths]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        if self._read(len(READY)) != READY:
            self.close()
            raise CodecError("the process that decodes SZ3 does not start; try: python -c 'import imagecodecs'")
        atexit.register(self.close)

    def decode(self, stream: bytes, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        """The values, or None where the decoder failed.

        Raises:
            OSError: if the process has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(REQUEST.pack(len(stream), shape[0] if len(shape) == 2 else 0, shape[-1]) + stream)
        self._process.stdin.flush()
        answer = self._read(1)
        if answer == DECODED:
            data = self._read(4 * math.prod(shape))
            if len(data) == 4 * math.prod(shape):
                return np.frombuffer(data, np.float32).reshape(shape)
        elif answer:
            return None
        raise BrokenPipeError("no answer")

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.read(size)

    def close(self) -> None:
        """Ends the process, unless it belongs to the one that this one was forked from."""
        if self._owner != os.getpid():
            return
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):  # what was still to be written has no reader
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
