"""What `lamofcbench run` shows: a line for each finished rate point above a bar for the whole run, a table at the end.

Bars go to stderr where that and stdout are terminals. Only the leading process has a display.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.console import fitting
from harness.report import ladder_ends, text
from harness.report.ladder_ends import OpenEnd
from harness.results.result import ANCHOR, FLOOR, Result
from harness.running.plan import Batch
from harness.running.progress import Finished, Progress
from harness.statistics import curves
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import parse_codec_spec
from lamofcbench.scenarios.base import Scenario

PERCENT = 95
FIGURES = (("EBPFP", 7), ("score", 7), ("kept %", 6), ("seconds", 7))
GAP = "  "
LEAST_NAME = 12


@dataclass(frozen=True)
class Shown:
    """A finished rate point, and what to call it."""

    scenario: Scenario
    spec: str
    finished: Finished
    retention: float | None

    @property
    def codec(self) -> str:
        """The SPEC without the point's parameters."""
        return parse_codec_spec(self.spec).id

    @property
    def is_end(self) -> bool:
        """Whether it is anchor or floor, which stand beside every curve."""
        return self.spec in (ANCHOR, FLOOR)


class RunDisplay(Progress):
    """The display of one run.

    Args:
        plans: each scenario with what runs on it after anchor and floor, as the command line takes it, and the codec.
        lines: whether finished points get their lines.
        bars: whether there may be bars.
    """

    def __init__(
        self, plans: Sequence[tuple[Scenario, Sequence[tuple[str, Codec]]]], *, lines: bool, bars: bool
    ) -> None:
        self.points: list[Shown] = []
        self._lines = lines
        self._bars = bars and sys.stderr.isatty()
        self._width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else None
        self._named = {(scenario.id, codec.fingerprint): spec for scenario, codecs in plans for spec, codec in codecs}
        self._total = sum(2 + len(codecs) for _, codecs in plans)  # anchor and floor
        specs = [spec for _, codecs in plans for spec, _ in codecs]
        self._columns = self._widths([scenario.id for scenario, _ in plans], [ANCHOR, *specs])
        self._done = 0
        self._run_bar = None
        self._current = ""
        self._ends: dict[str, dict[str, Result]] = {}

    def __enter__(self) -> RunDisplay:
        if self._bars:
            from tqdm import tqdm

            self._run_bar = tqdm(
                total=self._total, position=1, leave=False, smoothing=0,
                bar_format="{desc} |{bar}| {elapsed}, {remaining} left", desc=f"point 1 of {self._total}",
            )  # fmt: skip
        return self

    def __exit__(self, *error: object) -> None:
        if self._run_bar is not None:
            self._run_bar.close()

    # ------------------------------------------------------------------------------------------ told by the runner

    def begin(self, scenario: Scenario, codec: Codec) -> None:
        """Names the point in the bar."""
        self._current = self._named.get((scenario.id, codec.fingerprint), codec.name)
        if self._run_bar is not None:
            number = min(self._done + 1, self._total)
            self._run_bar.set_description_str(f"point {number} of {self._total}")

    def batches(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """A bar of the point's own, which moves that of the run too."""
        if self._run_bar is None:
            yield from batches
            return
        from tqdm import tqdm

        label = fitting(text.shown(self._current, LEAST_NAME * 2), sys.stderr)
        for batch in tqdm(batches, desc=label, unit="batch", leave=False, position=0):
            yield batch
            self._run_bar.update(0.9 / len(batches))  # the rest is scoring and verification

    def finish(self, scenario: Scenario, finished: Finished) -> None:
        """Its line, unless it had one."""
        self._done += 1
        if self._run_bar is not None:
            if finished.is_old:
                self._run_bar.initial += 1  # what took no time tells nothing about the rest
            self._run_bar.n = self._done
            self._run_bar.refresh()
        if any(shown.finished.folder == finished.folder for shown in self.points):
            return
        ends = self._ends.setdefault(scenario.id, {})
        ends.setdefault(finished.result.codec.name, finished.result)
        shown = Shown(scenario, self._current, finished, self._retention(scenario, finished.result))
        if self._lines and not self.points:
            self._write(self._row(("scenario", "codec", *(name for name, _ in FIGURES))))
        self.points.append(shown)
        if self._lines:
            self._write(self._line(shown))

    # ------------------------------------------------------------------------------------------------------- lines

    def _retention(self, scenario: Scenario, result: Result) -> float | None:
        ends = self._ends[scenario.id]
        if ANCHOR not in ends or FLOOR not in ends:
            return 1.0 if result.codec.name == ANCHOR else None
        value = float(curves.retention(result.score, ends[ANCHOR].score, ends[FLOOR].score, result.direction))
        return None if value != value else value

    def _line(self, shown: Shown) -> str:
        result, finished = shown.finished.result, shown.finished
        took = "resumed" if finished.is_old else f"{finished.seconds:.1f}"
        line = self._row((
            shown.scenario.id,
            shown.spec,
            text.number(result.rate.ebpfp),
            text.number(result.score),
            text.NOTHING if shown.retention is None else f"{100 * shown.retention:.1f}",
            took,
        ))  # fmt: skip
        if finished.resumed and not finished.is_old:
            line += f"  resumed at batch {finished.resumed + 1} of {finished.batches}"
        return line

    def _widths(self, scenarios: Sequence[str], specs: Sequence[str]) -> tuple[int, int]:
        """Of the two columns of names; names are shortened where the terminal is too narrow for them."""
        first, second = max(map(len, scenarios)), max(len(text.shown(spec, text.MAX_LINE)) for spec in specs)
        if self._width is not None:
            room = self._width - 1 - sum(len(GAP) + width for _, width in FIGURES) - len(GAP)
            first = min(first, max(room - second, room // 2, LEAST_NAME))
            second = min(second, max(room - first, LEAST_NAME))
        return max(first, len("scenario")), max(second, len("codec"))

    def _row(self, cells: Sequence[str]) -> str:
        names = [text.shown(cell, width).ljust(width) for cell, width in zip(cells, self._columns, strict=False)]
        figures = [cell.rjust(width) for cell, (_, width) in zip(cells[2:], FIGURES, strict=True)]
        return GAP.join([*names, *figures])

    def _write(self, line: str) -> None:
        line = fitting(line, sys.stdout)
        if self._run_bar is not None:
            self._run_bar.write(line, file=sys.stdout)
        else:
            print(line)
        sys.stdout.flush()

    # ----------------------------------------------------------------------------------------------------- the end

    def as_plain(self) -> list[dict[str, Any]]:
        """The finished points for JSON."""
        return [
            {
                "scenario": shown.scenario.id,
                "codec": shown.spec,
                "ebpfp": shown.finished.result.rate.ebpfp,
                "metric": shown.finished.result.metric,
                "score": shown.finished.result.score,
                "retention": shown.retention,
                "seconds": shown.finished.seconds,
                "resumed": shown.finished.is_old,
                "folder": str(shown.finished.folder),
            }
            for shown in self.points
        ]

    def print_summary(self) -> None:
        """EBPFP@95 of each codec on each scenario, and which ladders end too soon."""
        curves_of: dict[tuple[str, str], list[Shown]] = {}
        for shown in self.points:
            if not shown.is_end:
                curves_of.setdefault((shown.scenario.id, shown.codec), []).append(shown)
        if not curves_of:
            return
        figures, ends = {}, []
        for (scenario, codec), points in curves_of.items():
            figures[scenario, codec], end = _at_percent(points)
            ends += [] if end is None else [end]
        self._write(f"\nEBPFP@{PERCENT}: the lowest rate that keeps {PERCENT} % of the score; uncoded is 32")
        for line in _matrix(figures, self._width or sys.maxsize):
            self._write(line)
        for sentence in ladder_ends.sentences(ends):
            self._write(sentence if self._width is None else textwrap.fill(sentence, self._width))


def _at_percent(points: Sequence[Shown]) -> tuple[str, OpenEnd | None]:
    """EBPFP@95 of a curve in letters, and its open end."""
    known = [(p.finished.result.rate.ebpfp, p.retention, p.spec) for p in points]
    rated = sorted((rate, kept, spec) for rate, kept, spec in known if rate is not None and kept is not None)
    if len(rated) < len(known):
        return text.NOTHING, None
    found = curves.rate_at_retention([rate for rate, _, _ in rated], [kept for _, kept, _ in rated], PERCENT)
    if found is None:
        return text.NOTHING, None
    first = points[0]
    lossless = first.finished.result.codec.lossless
    end = ladder_ends.open_end(
        first.codec, first.scenario.id, found.bound, [spec for *_, spec in rated], lossless=lossless
    )
    sign = {"at most": "≤ ", "never": "never ", "exact": ""}[found.bound]
    return sign + text.number(found.ebpfp), end


def _matrix(figures: dict[tuple[str, str], str], width: int) -> Iterator[str]:
    """A row a scenario and a column a codec, in blocks of columns that fit the width."""
    scenarios, codecs = (list(dict.fromkeys(key[at] for key in figures)) for at in (0, 1))
    first = max(map(len, [*scenarios, "scenario"]))
    room = max(width - 1 - first, LEAST_NAME)
    widths = {
        codec: min(max(len(figures.get((s, codec), "")) for s in scenarios), room) for codec in codecs
    }  # fmt: skip
    names = {codec: text.shown(codec, room - len(GAP)) for codec in codecs}
    widths = {codec: max(widths[codec], len(names[codec])) for codec in codecs}
    while codecs:
        block, used = [codecs[0]], widths[codecs[0]] + len(GAP)
        for codec in codecs[1:]:
            used += widths[codec] + len(GAP)
            if used > room:
                break
            block.append(codec)
        codecs = codecs[len(block) :]
        yield GAP.join(["scenario".ljust(first), *(names[codec].rjust(widths[codec]) for codec in block)])
        for scenario in scenarios:
            cells = [figures.get((scenario, codec), text.NOTHING).rjust(widths[codec]) for codec in block]
            yield GAP.join([scenario.ljust(first), *cells])
