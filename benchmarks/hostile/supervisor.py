"""Keeps a child at work: starts it, watches it, puts another in its place when it ends or hangs, and says over what."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.hostile.child import COUNTER, Batch
from benchmarks.hostile.judge import Outcome

HANG_SECONDS = 120.0
"""A case that takes longer is ended with its process; setting up a target may take as long."""
POLL_SECONDS = 0.5
COMMAND = [sys.executable, "-m", "benchmarks.hostile.child"]
"""What the seed and the counter's file follow."""
_ROOT = Path(__file__).resolve().parents[2]


class Supervisor:
    """Runs cases in a child.

    Args:
        seed: of all cases.
        log: where the child's standard error goes.
        hang_seconds: see `HANG_SECONDS`.
    """

    def __init__(self, seed: int, log: Path, hang_seconds: float = HANG_SECONDS) -> None:
        self._seed, self._log, self._hang_seconds = seed, log, hang_seconds
        self._folder = tempfile.TemporaryDirectory(prefix="hostile-")
        self._counter = Path(self._folder.name, "counter")
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._folder.cleanup()

    def run(self, target: str, start: int, stop: int) -> Iterator[Batch]:
        """The batches of the cases from ``start`` to before ``stop``, not always in their order.

        Raises:
            RuntimeError: if the child ends before it has begun with any case.
        """
        pending = deque([(start, stop)])
        while pending:
            at, end = pending.popleft()
            for batch in self._ask(target, at, end):
                at = batch.stop
                yield batch
            if at == end:
                continue
            case, how = self._bury()
            if not at <= case < end:
                raise RuntimeError(f"the child ended before the first case of {target} ({how}); see {self._log}")
            detail = {"case": f"{target}:{case}", "outcome": Outcome.CRASH.value, "detail": how}
            yield Batch(target, case, case + 1, counts={Outcome.CRASH.value: 1}, findings=[detail])
            pending.extend(part for part in ((at, case), (case + 1, end)) if part[0] < part[1])

    def _ask(self, target: str, start: int, stop: int) -> Iterator[Batch]:
        """The batches until the last, or until the child ends or hangs."""
        child = self._started()
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps([target, start, stop]).encode() + b"\n")
            child.stdin.flush()
        except OSError:
            return
        while start < stop and (line := self._line(child)):
            batch = Batch(**json.loads(line))
            start = batch.stop
            yield batch

    def _line(self, child: subprocess.Popen[bytes]) -> bytes:
        """The next answer; nothing where the child ended or hangs."""
        assert child.stdout is not None
        number, waited, looked = self._number(), 0.0, time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while not selector.select(POLL_SECONDS):
                now = time.monotonic()
                # No more than a few polls at once: a machine that slept, or stopped both processes, is no hang.
                waited, looked = waited + min(now - looked, 4 * POLL_SECONDS), now
                if self._number() != number:
                    number, waited = self._number(), 0.0
                elif waited > self._hang_seconds:
                    return b""
        line: bytes = child.stdout.readline()
        return line if line.endswith(b"\n") else b""

    def _number(self) -> int:
        return int(COUNTER.unpack(self._counter.read_bytes())[0])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._counter.write_bytes(COUNTER.pack(-1))
            command = [*COMMAND, str(self._seed), str(self._counter)]
            path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
            environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
            with self._log.open("ab") as log:
                self._child = subprocess.Popen(command, stderr=log, env=environment, start_new_session=True, **pipes)
        return self._child

    def _bury(self) -> tuple[int, str]:
        """The case over which the child ended or hung, and how; the child is gone then."""
        assert self._child is not None
        try:
            status: int | None = self._child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            status = None
        self._end()
        number = self._number()
        if status is None:
            return number, f"takes more than {self._hang_seconds:.0f} s"
        return number, f"ends the process by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def _end(self) -> None:
        """Ends the child and what it has started."""
        if self._child is None:
            return
        child, self._child = self._child, None
        assert child.stdin is not None and child.stdout is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with contextlib.suppress(OSError):  # what was still to be written has no reader
            child.stdin.close()
