"""The record of a benchmark: a file that only grows, a line a batch, from which a later run goes on."""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.hostile.child import Batch
from benchmarks.hostile.judge import GOOD, Outcome
from lamofcbench.errors import ResultsError

FORMAT = 1


class Journal:
    """What was found so far.

    Args:
        path: of the file, made where there is none.
        seed: of all cases.

    Raises:
        ResultsError: if the file is of another seed or no journal.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed = path, seed
        self.batches: list[Batch] = []
        if path.is_file() and path.stat().st_size:
            self._read()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"hostile_input": FORMAT, "seed": seed}) + "\n")

    def add(self, batch: Batch) -> None:
        """Appends a batch."""
        self.batches.append(batch)
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(batch)) + "\n")

    def missing(self, target: str, count: int) -> list[tuple[int, int]]:
        """Which of the first ``count`` cases of a target have not run, as numbers of first and behind last."""
        gaps, at = [], 0
        for start, stop in sorted((b.start, b.stop) for b in self.batches if b.target == target):
            if start > at:
                gaps.append((at, min(start, count)))
            at = max(at, stop)
        return [(a, b) for a, b in [*gaps, (at, count)] if a < b]

    def findings(self) -> list[dict[str, Any]]:
        """Every case that ended badly."""
        return [finding for batch in self.batches for finding in batch.findings]

    def table(self) -> str:
        """Counts of outcomes by target, with cases a second and the slowest case."""
        counts: dict[str, collections.Counter[str]] = {}
        seconds, slowest = collections.Counter[str](), collections.defaultdict[str, float](float)
        for batch in self.batches:
            counts.setdefault(batch.target, collections.Counter()).update(batch.counts)
            seconds[batch.target] += batch.seconds
            slowest[batch.target] = max(slowest[batch.target], batch.slowest)
        return "\n".join(_lines(counts, seconds, slowest))

    def _read(self) -> None:
        lines = self.path.read_text().splitlines(keepends=True)
        try:
            head = json.loads(lines[0])
            if head["hostile_input"] != FORMAT:
                raise ValueError(f"format {head['hostile_input']}")
            whole = [line for line in lines[1:] if line.endswith("\n")]  # a killed run may have left half a line
            self.batches = [Batch(**json.loads(line)) for line in whole]
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsError(
                f"{self.path} is no journal of this benchmark ({error}); name another --output"
            ) from error
        if head["seed"] != self.seed:
            raise ResultsError(f"{self.path} is of seed {head['seed']}, not {self.seed}; name another --output")
        if len(whole) < len(lines) - 1:
            self.path.write_text("".join([lines[0], *whole]))


def _lines(
    counts: dict[str, collections.Counter[str]], seconds: collections.Counter[str], slowest: dict[str, float]
) -> Iterator[str]:
    found = [o.value for o in Outcome if o in GOOD or any(c[o.value] for c in counts.values())]
    heads = ["target", "cases", *found, "a second", "slowest, s"]
    rows = [
        [
            name,
            f"{c.total()}",
            *(f"{c[o]}" for o in found),
            f"{c.total() / max(seconds[name], 1e-9):.0f}",
            f"{slowest[name]:.2f}",
        ]
        for name, c in sorted(counts.items())
    ]
    total = sum(counts.values(), collections.Counter())
    rows.append(["all", f"{total.total()}", *(f"{total[o]}" for o in found), "", ""])
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    for row in [heads, *rows]:
        yield "  ".join(
            cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
