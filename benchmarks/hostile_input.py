"""Mutated bitstreams, saved codecs, shards, indices and manifests: is each refused in one clear line, at little cost?

    python benchmarks/hostile_input.py [--streams N] [--files N] [--seed S] [--codecs NAME ...] [--output FOLDER]
    python benchmarks/hostile_input.py --case uniform:1234 [--seed S]

A case is numbered, and follows from the seed and its number. Cases run in a process that may crash, hang or run out of
memory; another takes its place, and the case is a finding. So is any exception that is no `LaMoFCBenchError`, any
message that is not one line of at most 1000 printable characters, any result that is not finite or not of its shapes,
and any case that takes more than 20 times the time or memory that honest input of the shape that it claims does, unless
that is less than 0.1 s (0.5 s where another process decodes) or 64 MiB; the fastest of three runs counts. What was
found is kept in FOLDER: run again, it goes on. The status is 1 where there is a finding.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.hostile.journal import Journal
from benchmarks.hostile.judge import MemoryMeter, judge
from benchmarks.hostile.supervisor import Supervisor
from benchmarks.hostile.targets import FILES, allotted, cases_of, codec_names
from lamofcbench.errors import LaMoFCBenchError

SHOWN_FINDINGS = 40
CHUNK = 5000
"""So many cases are asked for at a time, so that all targets come far when time is short."""


def run(arguments: argparse.Namespace) -> int:
    """Runs what is missing, and says what was found."""
    output = Path(arguments.output)
    journal = Journal(output / f"seed-{arguments.seed}.jsonl", arguments.seed)
    targets = [*(arguments.codecs or codec_names()), *FILES]
    counts = {name: count for name, count in allotted(targets, arguments.streams, arguments.files).items() if count}
    print(f"seed {arguments.seed}, {sum(counts.values())} cases, recorded in {journal.path}", flush=True)
    deadline = time.monotonic() + arguments.seconds if arguments.seconds else float("inf")
    with Supervisor(arguments.seed, output / f"seed-{arguments.seed}.log") as supervisor:
        for target, start, stop in parts_of(journal, counts):
            if time.monotonic() > deadline:
                break
            for batch in supervisor.run(target, start, stop):
                journal.add(batch)
            print(f"{target} {stop}/{counts[target]}", flush=True)
    findings = journal.findings()
    print(f"\n{journal.table()}\n\n{len(findings)} findings, seed {arguments.seed}")
    for finding in findings[:SHOWN_FINDINGS]:
        print(f"  {finding['case']}  {finding['outcome']}: {finding['detail']}")
    if len(findings) > SHOWN_FINDINGS:
        print(f"  and {len(findings) - SHOWN_FINDINGS} more in {journal.path}")
    return 1 if findings else 0


def parts_of(journal: Journal, counts: dict[str, int]) -> list[tuple[str, int, int]]:
    """What is missing, in chunks, a round of the targets after the other."""
    rounds = []
    for order, (target, count) in enumerate(counts.items()):
        chunks = [(s, min(s + CHUNK, b)) for a, b in journal.missing(target, count) for s in range(a, b, CHUNK)]
        rounds += [(number, order, target, *chunk) for number, chunk in enumerate(chunks)]
    return [(target, start, stop) for _, _, target, start, stop in sorted(rounds)]


def show(arguments: argparse.Namespace) -> int:
    """Runs one case in this process, and says what became of it."""
    target, _, number = arguments.case.rpartition(":")
    if not number.isdecimal():
        raise LaMoFCBenchError(f"{arguments.case!r} is no case: TARGET:NUMBER, such as uniform:1234")
    cases = cases_of(target, arguments.seed)
    case = cases.make(int(number))
    print(case.describe(), flush=True)
    verdict = judge(case, MemoryMeter())
    print(f"{verdict.outcome.value} in {verdict.seconds:.4f} s: {verdict.detail}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000_000, help="bitstreams, of all codecs together")
    parser.add_argument("--files", type=int, default=10_000, help="folders with a mutated file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--codecs", nargs="+", default=[], metavar="NAME", help="instead of all that can run here")
    parser.add_argument("--seconds", type=float, help="stop after about so long; run again to go on")
    parser.add_argument("--output", default="results/hostile_input", metavar="FOLDER")
    parser.add_argument("--case", metavar="TARGET:NUMBER", help="run this case alone, in this process")
    chosen = parser.parse_args(arguments)
    try:
        return show(chosen) if chosen.case else run(chosen)
    except LaMoFCBenchError as error:
        parser.exit(2, f"error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "stopped; run again to go on\n")


if __name__ == "__main__":
    raise SystemExit(main())
