"""Ladders that end too soon: curves that never leave the full score, or never reach it, and at which end to go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report import text
from harness.report.points import spec_of_point
from harness.report.summary import Summary
from harness.statistics.curves import Bound


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
    """A curve's open end; None where its rate points reach beyond both, or it is lossless and has no lower rate.

    Args:
        codec: its name.
        scenario: on which.
        bound: what kind of figure its EBPFP@p is; None where there is none.
        points: its rate points as the command line takes them, by rising rate, at least one.
        lossless: whether every bit comes back.
    """
    if lossless or bound not in ("at most", "never"):
        return None
    return OpenEnd(codec, scenario, bound, points[0 if bound == "at most" else -1])


def open_ends(summary: Summary) -> list[OpenEnd]:
    """Those of a report, by the percent that ranks each scenario."""
    found = [
        open_end(
            codec.codec,
            part.scenario,
            next((kept.bound for kept in codec.retained if kept.percent == part.ranking_percent), None),
            [spec_of_point(codec, point) for point in codec.points],
            lossless=codec.lossless,
        )
        for part in summary.scenarios
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
    for bound in ("never", "at most"):
        named = ", ".join(f"{_last(group)} ({_where(group)})" for group in groups.get(bound, {}).values())
        if named:
            found.append(f"{_ADVICE[bound]}: {named}.")
    return found


_ADVICE = {
    "never": "Ladders to extend to higher rates, as none of their points keeps the score",
    "at most": "Ladders to extend to lower rates, as all of their points keep the score",
}


def _last(ends: Sequence[OpenEnd]) -> str:
    lasts = list(dict.fromkeys(text.shown(end.last) for end in ends))
    return lasts[0] if len(lasts) == 1 else f"{lasts[0]} and others"


def _where(ends: Sequence[OpenEnd]) -> str:
    return text.shown(ends[0].scenario) if len(ends) == 1 else f"on {len(ends)} scenarios"
