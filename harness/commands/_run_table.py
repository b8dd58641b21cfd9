"""What `lamofcbench run` says at its end: EBPFP@p of each codec on each scenario, and which ladders end too soon."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.report import ladder_ends, text
from harness.report.ladder_ends import OpenEnd
from harness.report.summary import ranking_percent_of
from harness.statistics import curves

GAP = "  "
LEAST_NAME = 12
_THINNED = "What they lack may be among the rate points that --points left out."


@dataclass(frozen=True)
class CurvePoint:
    """A rate point of a codec on a scenario.

    Attributes:
        codec: the SPEC without the point's parameters.
        spec: the point as the command line takes it.
        ebpfp: its rate; None where nothing was coded.
        retention: the share of the score that is left; None where it is undefined.
        lossless: whether every bit comes back.
        samples: that were coded.
    """

    scenario: str
    codec: str
    spec: str
    ebpfp: float | None
    retention: float | None
    lossless: bool
    samples: int


def lines(points: Sequence[CurvePoint], width: int | None, *, thinned: bool = False) -> Iterator[str]:
    """The table and what is to be done about ladders; nothing where there are no points.

    Args:
        points: of all codecs and scenarios, in the order run.
        width: columns to fit; None for any.
        thinned: whether rate points of ladders were left out.
    """
    if not points:
        return
    of_curve: dict[tuple[str, str], list[CurvePoint]] = {}
    for point in points:
        of_curve.setdefault((point.scenario, point.codec), []).append(point)
    percent = ranking_percent_of(min(point.samples for point in points))  # as a report of these points has it
    figures, ends = {}, []
    for key, curve in of_curve.items():
        figures[key], end = _at_percent(curve, percent)
        ends += [] if end is None else [end]
    kept = f"EBPFP@{percent}: the lowest rate that keeps {percent} % of the score{text.level_reason(percent)}"
    yield from _wrapped(f"{kept}; uncoded is 32", width)
    yield from _matrix(figures, width or sys.maxsize)
    for sentence in [*ladder_ends.sentences(ends), *([_THINNED] if ends and thinned else [])]:
        yield from _wrapped(sentence, width)


def _wrapped(sentence: str, width: int | None) -> list[str]:
    return [sentence] if width is None else textwrap.wrap(sentence, width, break_on_hyphens=False)


def _at_percent(curve: Sequence[CurvePoint], percent: int) -> tuple[str, OpenEnd | None]:
    """EBPFP@percent of a curve in letters, and its open end."""
    rated = sorted((p.ebpfp, p.retention, p.spec) for p in curve if p.ebpfp is not None and p.retention is not None)
    if len(rated) < len(curve):
        return text.NOTHING, None
    found = curves.rate_at_retention([rate for rate, _, _ in rated], [kept for _, kept, _ in rated], percent)
    if found is None:
        return text.NOTHING, None
    first, specs = curve[0], [spec for *_, spec in rated]
    end = ladder_ends.open_end(first.codec, first.scenario, found.bound, specs, lossless=first.lossless)
    return text.bounded(found.ebpfp, found.bound), end


def _matrix(figures: Mapping[tuple[str, str], str], width: int) -> Iterator[str]:
    """A row a scenario and a column a codec, in blocks of columns that fit the width."""
    scenarios, codecs = (list(dict.fromkeys(key[at] for key in figures)) for at in (0, 1))
    first = max(map(len, [*scenarios, "scenario"]))
    room = max(width - 1 - first, LEAST_NAME)
    names = {codec: text.shown(codec, room - len(GAP)) for codec in codecs}
    widths = {
        codec: max(len(names[codec]), *(len(figures.get((scenario, codec), "")) for scenario in scenarios))
        for codec in codecs
    }
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
