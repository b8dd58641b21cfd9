"""Kills runs with SIGKILL and resumes them until they complete; a script of its own, run by `test_resume`.

Everything is imported once; each run is then a forked child. A child is killed either by its parent after a random
time, or by itself at a random one of its file operations under the results folder, which finds the moments between two
operations that a clock would rarely hit.

    python kill_and_resume.py SCENARIO DATA FOLDER SEED KILLS SPEC...

FOLDER then holds `whole`, an undisturbed run, and `resumed-0` onwards, one for each run that completed after kills.
At last two runs at once, one of them with the codecs in the other order, make `together`; in `survived` one of two is
killed, at a random time.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from harness.running.runner import ScenarioRunner
from harness.running.selection import select_codecs
from harness.running.settings import RunSettings
from lamofcbench.scenarios.base import SCENARIOS

FILE_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


def run(scenario: str, data: Path, results: Path, specs: list[str]) -> None:
    torch.set_num_threads(1)
    declared = SCENARIOS.get(scenario)
    settings = RunSettings(results=results, data=data, progress=False, verify_samples=0)  # or each run starts a process
    ScenarioRunner(declared, settings).run(select_codecs(specs, declared))


def count_file_operations(results: Path, die_at: int | None) -> list[int]:
    """Counts this process's file operations under a folder, and kills it at one of them."""
    count = [0]

    def hook(event: str, arguments: tuple) -> None:
        if event in FILE_EVENTS and arguments and str(arguments[0]).startswith(str(results)):
            count[0] += 1
            if count[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return count


def forked(work) -> int:
    """Starts a child that does the work; its process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
    return child


def main() -> None:
    scenario, data, folder, seed, kills, *specs = sys.argv[1:]
    draw, base = random.Random(int(seed)), Path(folder)

    def work(results: Path, die_at: int | None = None) -> None:
        count = count_file_operations(results, die_at)
        run(scenario, Path(data), results, specs)
        (base / "operations.txt").write_text(str(count[0]))

    # An undisturbed run: how long it takes, and how many file operations.
    started = time.monotonic()
    assert os.waitpid(forked(lambda: work(base / "whole")), 0)[1] == 0
    seconds, operations = time.monotonic() - started, int((base / "operations.txt").read_text())

    killed = completed = 0
    while killed < int(kills):
        results = base / f"resumed-{completed}"
        if killed % 2:
            child = forked(lambda folder=results: work(folder))
            time.sleep(draw.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
        else:
            # Small numbers too: a resumed run has fewer operations left.
            die_at = draw.randrange(1, max(2, int(operations * draw.random())))
            child = forked(lambda folder=results, at=die_at: work(folder, at))
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or status == 0, "a resumed run failed"
        killed += os.WIFSIGNALED(status)
        completed += status == 0
    assert os.waitpid(forked(lambda: work(base / f"resumed-{completed}")), 0)[1] == 0, "the last run failed"

    def two(results: Path) -> list[int]:
        return [forked(lambda o=order: run(scenario, Path(data), results, o)) for order in (specs, specs[::-1])]

    for child in two(base / "together"):
        assert os.waitpid(child, 0)[1] == 0, "a run beside another failed"
    victim, survivor = two(base / "survived")
    time.sleep(draw.uniform(0, seconds))
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    assert os.waitpid(survivor, 0)[1] == 0, "a run beside one that was killed failed"
    print(killed)


if __name__ == "__main__":
    main()
