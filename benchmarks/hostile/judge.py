"""What becomes of a case, and by which rules: what an error may look like, and what it may cost."""

from __future__ import annotations

import ctypes
import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lamofcbench.errors import LaMoFCBenchError

COST_FACTOR = 20
"""A case may cost so many times what honest input of the shape that it claims does,"""
GRACE_SECONDS, PROCESS_GRACE_SECONDS, GRACE_BYTES = 0.1, 0.5, 2**26
"""or so much, whatever is more, the second where another process decodes: below it, timers, caches, allocators and the
start of processes are all that is measured."""
ATTEMPTS = 3
"""A case that was slow runs again, because the machine may have been: its fastest run counts."""
HOPELESS_SECONDS = 10.0
"""A case that took so long does not run again."""
LONGEST_MESSAGE = 1000


class Outcome(str, enum.Enum):
    """What became of a case; all but the first two are findings."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    WRONG = "wrong result"
    MESSAGE = "message"
    FOREIGN = "foreign exception"
    SLOW = "slow"
    MEMORY = "memory"
    CRASH = "crash"


GOOD = (Outcome.ACCEPTED, Outcome.REFUSED)


class Case(Protocol):
    """Hostile input and what reads it.

    Attributes:
        in_process: whether all work is done in this process.
    """

    in_process: bool

    def describe(self) -> str:
        """What it is, in one line."""

    def run(self) -> str | None:
        """Reads it; None, or what is wrong with the result."""

    def honest_run(self) -> Callable[[], object]:
        """What reads honest input of the same shape."""


def clock_of(case: Case) -> Callable[[], float]:
    """Processor time, which a busy machine does not change, or the wall's where another process works."""
    return time.process_time if case.in_process else time.perf_counter


@dataclass(frozen=True)
class Verdict:
    """What became of a case.

    Attributes:
        outcome: of it.
        detail: the error's message, or what was measured.
        seconds: of its fastest run.
    """

    outcome: Outcome
    detail: str
    seconds: float


def judge(case: Case, meter: MemoryMeter) -> Verdict:
    """Runs a case."""
    outcome, detail, seconds = _attempt(case)
    if outcome not in (*GOOD, Outcome.WRONG):
        return Verdict(outcome, detail, seconds)
    grown = meter.grown()
    if seconds <= _grace_seconds(case) and grown <= GRACE_BYTES:
        return Verdict(outcome, detail, seconds)
    return _costly(case, meter, Verdict(outcome, detail, seconds), grown)


def _attempt(case: Case) -> tuple[Outcome, str, float]:
    clock = clock_of(case)
    start = clock()
    try:
        wrong = case.run()
        outcome, detail = (Outcome.ACCEPTED, "") if wrong is None else (Outcome.WRONG, wrong)
    except LaMoFCBenchError as error:
        outcome, detail = _of_error(error)
    except MemoryError as error:
        outcome, detail = Outcome.MEMORY, f"MemoryError: {error}"
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a native library is no Exception
        outcome, detail = Outcome.FOREIGN, f"{type(error).__name__}: {error}"
    return outcome, detail, clock() - start


def _of_error(error: LaMoFCBenchError) -> tuple[Outcome, str]:
    if _ran_out_of_memory(error):
        return Outcome.MEMORY, str(error)
    fault = message_fault(str(error))
    return (Outcome.REFUSED, str(error)) if fault is None else (Outcome.MESSAGE, f"{fault}: {str(error)[:500]!r}")


def message_fault(message: str) -> str | None:
    """Why a message is not one clear line; None where it is one."""
    if not message.strip():
        return "an empty message"
    if len(message) > LONGEST_MESSAGE:
        return f"a message of {len(message)} characters"
    if not message.isprintable():
        return "a message that is not one printable line"
    return None


def _ran_out_of_memory(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or "can't allocate memory" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _costly(case: Case, meter: MemoryMeter, verdict: Verdict, peak: int) -> Verdict:
    """The verdict on a case that cost more than the grace, by honest input of its shape."""
    seconds, clock = verdict.seconds, clock_of(case)
    for _ in range(ATTEMPTS - 1 if seconds < HOPELESS_SECONDS else 0):
        meter.start()
        seconds = min(seconds, _attempt(case)[2])
        peak = meter.grown()
    honest_run = case.honest_run()
    honest_seconds, honest_peak = float("inf"), 0
    for _ in range(ATTEMPTS):
        meter.start()
        start = clock()
        honest_run()
        honest_seconds = min(honest_seconds, clock() - start)
        honest_peak = max(honest_peak, meter.grown())
    meter.start()
    if seconds > max(_grace_seconds(case), COST_FACTOR * honest_seconds):
        detail = f"{seconds:.3f} s, honest input {honest_seconds:.3f} s; {verdict.outcome.value}: {verdict.detail}"
        return Verdict(Outcome.SLOW, detail, seconds)
    if peak > max(GRACE_BYTES, COST_FACTOR * honest_peak):
        detail = f"{peak >> 20} MiB, honest input {honest_peak >> 20} MiB; {verdict.outcome.value}: {verdict.detail}"
        return Verdict(Outcome.MEMORY, detail, seconds)
    return Verdict(verdict.outcome, verdict.detail, seconds)


def _grace_seconds(case: Case) -> float:
    return GRACE_SECONDS if case.in_process else PROCESS_GRACE_SECONDS


class MemoryMeter:
    """How far this process's resident memory has risen above where it stood; always 0 where the system cannot tell."""

    def __init__(self) -> None:
        self._status, self._clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._start = 0
        self.start()

    def start(self) -> None:
        """Begins anew, with what is resident now; what the allocator only keeps is given back first."""
        if self._trim is not None:
            self._trim(0)
        try:
            self._clear.write_text("5")  # the peak becomes what is resident now
            self._start = self._peak()
        except OSError:
            self._start = -1

    def grown(self) -> int:
        """Bytes between the peak and the start."""
        return max(0, self._peak() - self._start) if self._start >= 0 else 0

    def _peak(self) -> int:
        for line in self._status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0
