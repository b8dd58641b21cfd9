"""Program that decodes SZ3 streams for another process, so that a crash of the native decoder harms only this one.

Usage: ``python -I _sz3_worker.py PATHS``, where PATHS is a JSON list, the import path of the caller. Requests come on
standard input: three little-endian 64-bit integers, bytes of the stream, rows (0: one dimension) and columns, then the
stream. Each is answered on standard output by a byte, 1 for success, and on success the values as float32.

A supervisor, which never runs the decoder itself, passes requests to a forked child. Where the child fails, the next
one takes its place in milliseconds.
"""

import json
import math
import os
import select
import signal
import struct
import sys
import time
from pathlib import Path
from typing import BinaryIO

REQUEST = struct.Struct("<QQQ")
READY, FAILED, DECODED = b"R", b"\0", b"\1"
CPU_SECONDS, CPU_VALUES_A_SECOND = 0.2, 1_000_000
WALL_SECONDS, WALL_BYTES_A_SECOND = 20, 1_000_000
MEMORY_BYTES, MEMORY_BYTES_A_VALUE = 2**28, 64


def supervise(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers requests until there are no more."""
    answers.write(READY)
    answers.flush()
    child = Child()
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        size, rows, columns = REQUEST.unpack(head)
        request, answer_bytes = head + requests.read(size), 4 * max(rows, 1) * columns
        values = child.ask(request, answer_bytes)
        if values is None:
            used, child = child.answered > 0, Child()
            if used:  # what an earlier stream broke may be to blame
                values = child.ask(request, answer_bytes)
                child = child if values is not None else Child()
        answers.write(FAILED if values is None else DECODED + values)
        answers.flush()


class Child:
    """A forked process that decodes until something goes wrong; then it has ended, and can be asked no more."""

    def __init__(self) -> None:
        request_end, self._requests = os.pipe()
        self._answers, answer_end = os.pipe()
        self.answered = 0
        self._process = os.fork()
        if not self._process:
            try:
                silence(0, 1)
                os.close(self._requests)
                os.close(self._answers)
                serve(os.fdopen(request_end, "rb"), os.fdopen(answer_end, "wb"))
            finally:
                os._exit(1)
        os.close(request_end)
        os.close(answer_end)

    def ask(self, request: bytes, answer_bytes: int) -> bytes | None:
        """The values of a stream, or None where the child failed."""
        answer = bytearray()
        deadline = time.monotonic() + WALL_SECONDS + answer_bytes / WALL_BYTES_A_SECOND
        try:
            view = memoryview(request)
            while view and select.select([], [self._requests], [], deadline - time.monotonic())[1]:
                view = view[os.write(self._requests, view[: select.PIPE_BUF]) :]
            while len(answer) < answer_bytes and select.select([self._answers], [], [], deadline - time.monotonic())[0]:
                part = os.read(self._answers, answer_bytes - len(answer))
                if not part:
                    break
                answer += part
        except (OSError, ValueError):  # the child ended before it had read the request, or time is over
            pass
        if len(answer) == answer_bytes:
            self.answered += 1
            return bytes(answer)
        os.close(self._requests)
        os.close(self._answers)
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        return None


def silence(*descriptors: int) -> None:
    """Points file descriptors to nowhere: the decoder prints, and its standard streams are not its own."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Decodes until there are no more requests; whatever goes wrong ends the process before it has answered."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        size, rows, columns = REQUEST.unpack(head)
        stream = requests.read(size)
        shape = (rows, columns) if rows else (columns,)
        bound_memory(math.prod(shape))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS + math.prod(shape) / CPU_VALUES_A_SECOND)
        values = imagecodecs.sz3_decode(stream, shape, "float32").tobytes()
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(values)
        answers.flush()


def bound_memory(values: int) -> None:
    """Bounds what this process may hold beyond what it has."""
    import resource

    try:
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # no Linux: there is no telling how much is held already, and time alone is bounded
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = held + MEMORY_BYTES + MEMORY_BYTES_A_VALUE * values
    resource.setrlimit(resource.RLIMIT_AS, (allowed if hard < 0 else min(allowed, hard), hard))


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])
    silence(2)
    import imagecodecs
    import imagecodecs._sz3  # here once, so that no child has to load it

    supervise(sys.stdin.buffer, sys.stdout.buffer)
