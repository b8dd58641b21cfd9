"""The process that runs cases: whatever they do to it, it is only this one that ends.

Usage: ``python -m benchmarks.hostile.child SEED COUNTER``. A request is a line of JSON on standard input, the name of
a target, the number of its first case and the number behind the last. The answers are lines of JSON on standard output,
a `Batch` each, at least one a second; the last one ends where the request does. COUNTER is a file that always holds the
number of the case that runs, for a process that cannot tell any more.
"""

from __future__ import annotations

import collections
import contextlib
import json
import mmap
import os
import resource
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from benchmarks.hostile.judge import GOOD, MemoryMeter, judge
from benchmarks.hostile.targets import cases_of

BATCH_SECONDS = 1.0
MEMORY_BYTES = 2**32
"""Address space beyond what the process has once it is ready: what a case may ask for before it is refused."""
COUNTER = struct.Struct("<q")


@dataclass
class Batch:
    """What became of some cases that follow each other.

    Attributes:
        target: whose cases.
        start: number of the first.
        stop: number behind the last.
        seconds: that they took.
        slowest: seconds of the slowest.
        counts: of each outcome.
        findings: case, outcome and detail of each bad one.
    """

    target: str
    start: int
    stop: int
    seconds: float = 0.0
    slowest: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)


def run_cases(
    target: str,
    cases: Any,
    start: int,
    stop: int,
    meter: MemoryMeter,
    note: Callable[[int], None] = lambda number: None,
) -> Iterator[Batch]:
    """Runs the cases from ``start`` to before ``stop``.

    Args:
        target: whose they are.
        cases: with a method ``make``.
        start: number of the first.
        stop: number behind the last.
        meter: of memory.
        note: is told the number of each case before it runs.
    """
    while start < stop:
        began, counts = time.perf_counter(), collections.Counter[str]()
        batch = Batch(target, start, start)
        # At least one case: a process that waited for its turn longer than a batch may take would hand over nothing.
        while batch.stop == start or (batch.stop < stop and time.perf_counter() - began < BATCH_SECONDS):
            note(batch.stop)
            case = cases.make(batch.stop)
            verdict = judge(case, meter)
            counts[verdict.outcome.value] += 1
            if verdict.outcome not in GOOD:
                name = f"{target}:{batch.stop}"
                detail = f"{verdict.detail[:500]} ({case.describe()})"
                batch.findings.append({"case": name, "outcome": verdict.outcome.value, "detail": detail})
            batch.slowest = max(batch.slowest, verdict.seconds)
            batch.stop += 1
        batch.counts, batch.seconds = dict(counts), time.perf_counter() - began
        start = batch.stop
        yield batch


def serve(seed: int, counter: Path, requests: TextIO, answers: TextIO) -> None:
    """Answers requests until there are no more."""
    meter, made, bounded = MemoryMeter(), {}, False
    with counter.open("r+b") as file, mmap.mmap(file.fileno(), COUNTER.size) as shown:

        def note(number: int) -> None:
            COUNTER.pack_into(shown, 0, number)

        for line in requests:
            target, start, stop = json.loads(line)
            if target not in made:
                note(-1)
                made = {target: cases_of(target, seed)}  # of one target at a time, because networks are large
                _start_clean(made[target])
            if not bounded:
                _bound_memory()
                bounded = True
            meter.start()
            for batch in run_cases(target, made[target], start, stop, meter, note):
                answers.write(json.dumps(asdict(batch)) + "\n")
                answers.flush()


def _start_clean(cases: Any) -> None:
    """Runs one honest case, so that no case pays for what is loaded or built at first use."""
    wrong = cases.honest().run()
    if wrong is not None:
        raise RuntimeError(f"honest input is not read as it should: {wrong}")


def _bound_memory() -> None:
    with contextlib.suppress(OSError, ValueError):  # not Linux, or already bounded
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, hard))


def main() -> None:
    """Serves on standard streams, away from whatever native libraries print there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        os.environ["LAMOFCBENCH_CACHE"] = folder
        serve(int(sys.argv[1]), Path(sys.argv[2]), sys.stdin, answers)


if __name__ == "__main__":
    main()
