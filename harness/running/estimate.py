"""`--dry-run`: what a run will take, from a batch or two that are really computed, in a temporary folder."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.results.record import to_json
from harness.running import environment
from harness.running.runner import ScenarioRunner
from harness.running.selection import anchor_and_floor
from lamofcbench.codecs.base import Codec

MEASURED_BATCHES = 2
"""The first warms up caches and clocks; the last is the one that counts."""


@dataclass(frozen=True)
class Estimate:
    """What one codec on one scenario will take.

    Attributes:
        seconds: of the whole run by all processes, fitting included; 0 where the result is there already.
        memory_bytes: the largest size of a process so far.
        disk_bytes: the results folder at its largest.
    """

    scenario: str
    codec: str
    samples: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    note: str = ""


def estimate(runner: ScenarioRunner, codecs: Sequence[Codec], processes: int = 1) -> Iterator[Estimate]:
    """The estimates of anchor, floor and codecs, each configuration once."""
    seen = set()
    with environment.pinned_threads(runner.settings.threads):
        for codec in (*anchor_and_floor(runner.scenario), *codecs):
            if codec.fingerprint not in seen:
                seen.add(codec.fingerprint)
                yield _estimate(runner, codec, processes)


def _estimate(runner: ScenarioRunner, codec: Codec, processes: int) -> Estimate:
    started = time.perf_counter()
    fitted, folder, _ = runner.fitted(codec)
    fit_seconds = time.perf_counter() - started
    identity = (runner.scenario.ref, repr(fitted), runner.samples)
    result = folder.read_result()
    if result is not None and result.samples >= runner.samples and runner.settings.overwrite != "always":
        return Estimate(*identity, 0.0, peak_memory_bytes(), 0, "finished")
    batches = runner.batches()
    measured = batches[:MEASURED_BATCHES]
    with tempfile.TemporaryDirectory(prefix="lamofcbench-") as scratch:
        saved = Path(scratch) / "codec"
        fitted.save(saved)
        pipeline = runner.pipeline(fitted, saved)
        codec_bytes = sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())
    for batch in measured:
        started = time.perf_counter()
        outcome = pipeline.run(batch)
        lines = [json.dumps(to_json(row) | timing) for row, timing in outcome.rows()]
        seconds = time.perf_counter() - started
    per_sample = sum(map(len, lines)) / len(lines)
    if runner.settings.keeps_bitstreams(runner.scenario):
        per_sample += sum(map(len, outcome.bitstreams)) / len(lines)
    computed = batches[-1].stop
    return Estimate(
        *identity,
        seconds=fit_seconds + seconds / len(lines) * computed / min(processes, len(batches)),
        memory_bytes=peak_memory_bytes(),
        disk_bytes=round(codec_bytes + per_sample * computed),
    )


def peak_memory_bytes() -> int:
    """The largest size that this process has had; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def table(estimates: Sequence[Estimate], processes: int = 1) -> list[tuple[str, ...]]:
    """The estimates as rows of text, head first and totals last."""
    rows: list[tuple[str, ...]] = [("scenario", "codec", "samples", "time", "memory", "disk", "")]
    for line in estimates:
        figures = (duration(line.seconds), size(line.memory_bytes), size(line.disk_bytes))
        rows.append((line.scenario, line.codec, str(line.samples), *figures, line.note))
    memory = max((line.memory_bytes for line in estimates), default=0) * processes
    seconds, disk = (sum(getattr(line, name) for line in estimates) for name in ("seconds", "disk_bytes"))
    rows.append(("total", "", "", duration(seconds), size(memory), size(round(disk)), ""))
    return rows


def duration(seconds: float) -> str:
    """A time for people.

    Example:
        >>> duration(0.25), duration(75), duration(7260)
        ('0.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """A number of bytes for people.

    Example:
        >>> size(900), size(2_500_000)
        ('900 B', '2.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
