"""What `lamofcbench run` shows while it runs: a line for each finished rate point above a bar for the whole run.

Bars go to stderr where that and stdout are terminals. Only the leading process has a display.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from harness.commands import _run_table
from harness.commands._run_table import GAP, LEAST_NAME, CurvePoint
from harness.console import fitting, tell
from harness.report import text
from harness.report.summary import Estimate
from harness.results.result import ANCHOR, FLOOR, Result
from harness.running.plan import Batch
from harness.running.progress import Finished, Progress
from harness.statistics import curves
from lamofcbench.codecs.base import Codec
from lamofcbench.codecs.registry import names_saved_codec, parse_codec_spec, spec_of
from lamofcbench.scenarios.base import Scenario

if TYPE_CHECKING:
    from tqdm import tqdm

FIGURES = (("EBPFP", 7), ("score", 7), ("kept %", 6), ("seconds", 7))


@dataclass(frozen=True)
class Shown:
    """A finished rate point.

    Attributes:
        spec: the point as the command line takes it; that of all of its points where a codec was saved with several.
        label: the same, with its parameters in any case.
    """

    scenario: Scenario
    spec: str
    label: str
    finished: Finished
    retention: float | None

    @property
    def point(self) -> CurvePoint:
        """What the table at the end needs of it."""
        result, codec = self.finished.result, parse_codec_spec(self.spec).id
        lossless = result.codec.lossless
        rate, kept = result.rate.ebpfp, self.retention
        return CurvePoint(self.scenario.id, codec, self.spec, rate, kept, lossless, result.samples)

    @property
    def is_end(self) -> bool:
        """Whether it is anchor or floor, which stand beside every curve."""
        return self.spec in (ANCHOR, FLOOR)


def _label(spec: str, codec: Codec) -> str:
    """A rate point's SPEC, and behind that of a saved codec the parameters, which it does not name."""
    params = spec_of(codec).partition(":")[2]
    return f"{spec} ({params})" if params and names_saved_codec(parse_codec_spec(spec)) else spec


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
        self._told: set[Path] = set()
        self._lines = lines
        self._bars = bars and sys.stderr.isatty()
        self._width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else None
        self._named = {(scenario.id, codec.fingerprint): spec for scenario, codecs in plans for spec, codec in codecs}
        self._total = sum(2 + len(codecs) for _, codecs in plans)  # anchor and floor
        self._labels = {codec.fingerprint: _label(spec, codec) for _, codecs in plans for spec, codec in codecs}
        self._columns = self._widths([scenario.id for scenario, _ in plans], [ANCHOR, *self._labels.values()])
        self._done = 0
        self._run_bar: tqdm[NoReturn] | None = None
        self._point_bar: tqdm[Batch] | None = None
        self._above_bars = contextlib.ExitStack()  # log messages, while there are bars
        self._current = self._current_label = ""
        self._ends: dict[str, dict[str, Result]] = {}
        self._warned: set[str] = set()

    def __enter__(self) -> RunDisplay:
        if self._bars:
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            self._above_bars.enter_context(logging_redirect_tqdm())
            self._run_bar = tqdm(
                total=self._total, position=1, leave=False, smoothing=0,
                bar_format="{desc} |{bar}| {elapsed}, {remaining} left", desc=f"point 1 of {self._total}",
            )  # fmt: skip
        return self

    def __exit__(self, *error: object) -> None:
        if self._run_bar is None:
            return
        for bar in (self._point_bar, self._run_bar):
            if bar is not None:
                bar.close()
        print(end="\r", file=sys.stderr, flush=True)  # a bar that is not the first leaves the cursor where it was
        self._run_bar = self._point_bar = None
        self._above_bars.close()

    # ------------------------------------------------------------------------------------------ told by the runner

    def begin(self, scenario: Scenario, codec: Codec) -> None:
        """Names the point in the bar."""
        self._current = self._named.get((scenario.id, codec.fingerprint), codec.name)
        self._current_label = self._labels.get(codec.fingerprint, codec.name)
        if self._run_bar is not None:
            number = min(self._done + 1, self._total)
            self._run_bar.set_description_str(f"point {number} of {self._total}")

    def consult_tail(self, scenario: Scenario) -> None:
        """Says on stderr why nothing moves for a while."""
        if self._lines:
            with self._without_bars(sys.stderr):
                tell(f"{scenario.id}: computing how its tail responds to calibration samples, once for all codecs")

    def batches(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """A bar of the point's own, which moves that of the run too."""
        if self._run_bar is None:
            yield from batches
            return
        from tqdm import tqdm

        label = fitting(text.shown(self._current_label, LEAST_NAME * 2), sys.stderr)
        self._point_bar = tqdm(batches, desc=label, unit="batch", leave=False, position=0)
        for batch in self._point_bar:
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
        if finished.folder in self._told:
            return
        self._told.add(finished.folder)
        ends = self._ends.setdefault(scenario.id, {})
        ends.setdefault(finished.result.codec.name, finished.result)
        shown = Shown(
            scenario, self._current, self._current_label, finished, self._retention(scenario, finished.result)
        )
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
        if len({part.samples for part in (result, ends[ANCHOR], ends[FLOOR])}) > 1:
            self._warn_of_samples(scenario, result)
            return None
        value = float(curves.retention(result.score, ends[ANCHOR].score, ends[FLOOR].score, result.direction))
        return None if value != value else value

    def _warn_of_samples(self, scenario: Scenario, result: Result) -> None:
        """Says on stderr, once a scenario and however little is shown, why there are dashes."""
        if scenario.id in self._warned:
            return
        self._warned.add(scenario.id)
        covered = [(end, self._ends[scenario.id][end].samples) for end in (ANCHOR, FLOOR)]
        if result.codec.name not in (ANCHOR, FLOOR):
            covered.append((self._current_label, result.samples))
        counts = ", ".join(f"{text.shown(name)} {samples}" for name, samples in covered)
        with self._without_bars(sys.stderr):
            tell(
                f"{scenario.id}: no share of the score where results cover other samples ({counts}); run without "
                "--limit, or into another --results folder"
            )

    def _line(self, shown: Shown) -> str:
        result, finished = shown.finished.result, shown.finished
        took = "resumed" if finished.is_old else f"{finished.seconds:.1f}"
        line = self._row((
            shown.scenario.id,
            shown.label,
            text.number(result.rate.ebpfp),
            text.number(result.score),
            text.NOTHING if shown.retention is None else text.percent(Estimate(value=shown.retention)),
            took,
        ))  # fmt: skip
        if not finished.resumed or finished.is_old:
            return line
        note = f"{GAP}resumed at batch {finished.resumed + 1} of {finished.batches}"
        fits = self._width is None or len(line + note) <= self._width
        return line + note if fits else f"{line}\n{note}"

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
        with self._without_bars(sys.stdout):
            print(fitting(line, sys.stdout), flush=True)  # before the bars come back, or they share a line

    def _without_bars(self, file: TextIO) -> contextlib.AbstractContextManager[None]:
        if self._run_bar is None:
            return contextlib.nullcontext()
        return self._run_bar.external_write_mode(file=file)

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

    def print_summary(self, *, thinned: bool) -> None:
        """EBPFP@p of each codec on each scenario, and which ladders end too soon.

        Args:
            thinned: whether rate points of ladders were left out.
        """
        ladders = [shown.point for shown in self.points if not shown.is_end]
        lines = list(_run_table.lines(ladders, self._width, thinned=thinned))
        for line in ["", *lines] if lines and self._lines else lines:
            self._write(line)
