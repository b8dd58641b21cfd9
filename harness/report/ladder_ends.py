"""Ladders that end too soon: curves that never leave the full score, or never reach it, and at which end to go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report import text
from harness.report.points import spec_of_point
from harness.report.summary import ScenarioSummary
from harness.statistics.curves import Bound

MOST_NAMED = 6
"""Codecs in a sentence."""


@dataclass(frozen=True)
class OpenEnd:
    """A curve whose EBPFP@p its rate points do not tell.

    Attributes:
        bound: ``at most`` where the lowest rate still keeps that much of the score, ``never`` where no rate does.
        last: the rate point at that end, as the command line takes it.
    """

    codec: str
    scenario: str
    bound: Bound
    last: str


def open_end(
    codec: str, scenario: str, bound: Bound | None, points: Sequence[str], *, lossless: bool
) -> OpenEnd | None:
    """A curve's open end; None where its points reach beyond both, and of what has one rate: a point, a lossless codec.

    Args:
        codec: its name.
        scenario: on which.
        bound: what kind of figure its EBPFP@p is; None where there is none.
        points: its rate points as the command line takes them, by rising rate.
        lossless: whether every bit comes back.
    """
    if lossless or len(points) < 2 or bound not in ("at most", "never"):
        return None
    return OpenEnd(codec, scenario, bound, points[0 if bound == "at most" else -1])


def open_ends(scenarios: Iterable[ScenarioSummary]) -> list[OpenEnd]:
    """Those of a report's scenarios, by the percent that ranks each."""
    found = [
        open_end(
            codec.codec,
            part.scenario,
            codec.retained_at(part.ranking_percent).bound,
            [spec_of_point(codec, point) for point in codec.points],
            lossless=codec.lossless,
        )
        for part in scenarios
        for codec in part.codecs
        if codec.role == "codec"
    ]
    return [end for end in found if end is not None]


def sentences(ends: Iterable[OpenEnd]) -> list[str]:
    """What to do about them, a sentence for each end: the last rate point of each codec, and where it is."""
    groups: dict[Bound, dict[str, list[OpenEnd]]] = {}
    for end in ends:
        groups.setdefault(end.bound, {}).setdefault(end.codec, []).append(end)
    found = []
    for bound, advice in _ADVICE.items():
        named = [f"{_last(group)} ({_where(group)})" for group in groups.get(bound, {}).values()]
        more = len(named) - MOST_NAMED
        if named:
            found.append(f"{advice}: {', '.join(named[:MOST_NAMED])}{f' and {more} more' if more > 0 else ''}.")
    return found


_ADVICE: dict[Bound, str] = {
    "never": "Ladders to extend to higher rates, as none of their points keeps the score",
    "at most": "Ladders to extend to lower rates, as all of their points keep the score",
}


def _last(ends: Sequence[OpenEnd]) -> str:
    lasts = list(dict.fromkeys(text.shown(end.last) for end in ends))
    return lasts[0] if len(lasts) == 1 else f"{lasts[0]} and others"


def _where(ends: Sequence[OpenEnd]) -> str:
    return text.shown(ends[0].scenario) if len(ends) == 1 else f"on {len(ends)} scenarios"
