"""The board from its entries. Every figure is the report's; here they are gathered, rounded and ranked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.leaderboard.board import DIGITS, Board, BoardScenario, CurvePoint, Edition, Rate, Refused, Row
from harness.leaderboard.entries import Entry, find_entries
from harness.report.compile import compile_summary
from harness.report.editions import by_edition
from harness.report.ranks import ranks
from harness.report.summary import CodecSummary, Estimate, OverallRow, ScenarioSummary, Summary
from harness.results.result import PROTOCOL_VERSION
from harness.statistics import bootstrap
from lamofcbench.errors import LaMoFCBenchError, first_line
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.version import __version__

EDITIONS = ("mini", "small", "full")


def compile_board(
    folders: Sequence[Path],
    source: str,
    *,
    resamples: int = bootstrap.RESAMPLES,
    tell: Callable[[str], Any] = lambda line: None,
) -> Board:
    """The board of results folders and repositories of submissions.

    Args:
        folders: see `find_entries`.
        source: what the page says it was made of.
        resamples: bootstrap draws for the intervals; 0 leaves them out.
        tell: takes a line for each entry.

    Raises:
        LaMoFCBenchError: if nothing in them can be shown.
    """
    entries, refused = find_entries(folders)
    summaries: list[tuple[Entry, Summary]] = []
    for entry in entries:
        tell(f"reading {entry.about.get('submission') or entry.results}")
        try:
            summaries.append((entry, compile_summary(entry.results, resamples=resamples, bound=False)))
        except LaMoFCBenchError as error:
            if not entry.about:
                raise
            refused.append(Refused(submission=entry.about["submission"], reason=first_line(error, 300)))
    editions = [_edition(name, summaries) for name in EDITIONS]
    shown = [edition for edition in editions if edition.rows]
    if not shown:
        reasons = "; ".join(f"{one.submission}: {one.reason}" for one in refused[:3])
        raise LaMoFCBenchError(
            f"nothing in {source} can be shown: it takes results of this protocol ({PROTOCOL_VERSION}) on whole test "
            f"splits of the {', '.join(EDITIONS)} editions" + (f" ({reasons})" if reasons else "")
        )
    return Board(
        lamofcbench_version=__version__,
        protocol_version=PROTOCOL_VERSION,
        source=source,
        editions=shown,
        refused=sorted(refused, key=lambda one: one.submission),
    )


def _edition(name: str, summaries: Sequence[tuple[Entry, Summary]]) -> Edition:
    """The codecs of one edition, over all entries."""
    parts = [(entry, by_edition(summary)[name]) for entry, summary in summaries if name in by_edition(summary)]
    whole = [(entry, part, [one for one in part.scenarios if _counts(one)]) for entry, part in parts]
    found = {one.scenario: one for _, _, scenarios in whole for one in scenarios}
    order = [scenario.id for scenario in SCENARIOS if scenario.id in found]
    scenarios = [_scenario(found[id]) for id in order]
    tracks = [id for id in order if SCENARIOS.get(id).variant_of is None]
    percent = min((one.ranking_percent for one in found.values()), default=95)
    rows = [
        row
        for entry, part, own in whole
        for codec in dict.fromkeys(codec.codec for one in own for codec in one.codecs if codec.role == "codec")
        if (row := _row(entry, codec, part, own, scenarios, tracks, percent)) is not None
    ]
    return Edition(name=name, percent=percent, scenarios=scenarios, rows=_ranked(_told_apart(rows)))


def _counts(scenario: ScenarioSummary) -> bool:
    """Whether a row may have it: declared here, as it is today, and run on the whole test split."""
    return (
        scenario.scenario in SCENARIOS.names()
        and scenario.current
        and scenario.samples == scenario.test_samples
        and SCENARIOS.get(scenario.scenario).digest == scenario.scenario_digest
    )


def _scenario(summary: ScenarioSummary) -> BoardScenario:
    assert summary.anchor.value is not None and summary.floor.value is not None  # a retention needs both
    return BoardScenario(
        id=summary.scenario,
        title=summary.title,
        category=SCENARIOS.get(summary.scenario).category,
        features=summary.features,
        metric=summary.metric,
        direction=summary.direction,
        samples=summary.samples,
        version=summary.version,
        data_revision=summary.data_revision[:16],
        anchor=_short(summary.anchor.value),
        floor=_short(summary.floor.value),
    )


def _row(
    entry: Entry,
    codec: str,
    part: Summary,
    own: Sequence[ScenarioSummary],
    scenarios: Sequence[BoardScenario],
    tracks: Sequence[str],
    percent: int,
) -> Row | None:
    """A codec's row; None where it has a figure on no scenario."""
    found = {one.scenario: one_codec for one in own for one_codec in one.codecs if one_codec.codec == codec}
    rates = {id: rate for id, one in found.items() if (rate := _rate(one, percent)) is not None}
    if not rates:
        return None
    overall = next((row for row in part.overall if row.codec == codec), None)
    first = next(iter(found.values()))
    by_category = {one.id: one.category for one in scenarios if one.id in tracks}
    by_kind = {one.id: one.features or "" for one in scenarios if one.id in tracks}
    return Row(
        **{"codec": codec, **entry.about},
        name=first.name,
        level=entry.level,
        checked_on=entry.checked_on,
        trained_on=overall.trained_on if overall is not None and overall.trained_on else first.trained_on,
        state_bytes=max(one.state_bytes for one in found.values()),
        encode_mb_per_s=_mean_speed(one.encode_mb_per_s for one in found.values()),
        decode_mb_per_s=_mean_speed(one.decode_mb_per_s for one in found.values()),
        overall=_overall(rates, tracks, overall, percent, len(own)),
        categories=_means(rates, by_category),
        kinds=_means(rates, by_kind),
        scenarios=rates,
        curves={id: _curve(one) for id, one in found.items()},
    )


def _rate(codec: CodecSummary, percent: int) -> Rate | None:
    retained = next((part for part in codec.retained if part.percent == percent), None)
    if retained is None or retained.ebpfp.value is None:
        return None
    return _as_rate(retained.ebpfp, None if retained.bound == "exact" else retained.bound)


def _as_rate(estimate: Estimate, bound: Any = None) -> Rate:
    assert estimate.value is not None  # the caller has looked
    low, high = (None if end is None else _short(end) for end in (estimate.low, estimate.high))
    return Rate(value=_short(estimate.value), low=low, high=high, bound=bound)


def _overall(
    rates: Mapping[str, Rate], tracks: Sequence[str], row: OverallRow | None, percent: int, scenarios: int
) -> Rate | None:
    """The mean over all tracks; with the report's interval where that ran over the same ones."""
    if not all(id in rates for id in tracks):
        return None
    value = _geometric_mean([rates[id].value for id in tracks])
    found = row.ebpfp[str(percent)] if row is not None else Estimate(value=None)
    if found.value is not None and math.isclose(found.value, value, rel_tol=1e-3):
        return _as_rate(found)
    return Rate(value=_short(value))


def _means(rates: Mapping[str, Rate], groups: Mapping[str, str]) -> dict[str, Rate]:
    """Of each group whose scenarios all have a rate."""
    found = {}
    for name in dict.fromkeys(groups.values()):
        own = [id for id, group in groups.items() if group == name]
        if name and all(id in rates for id in own):
            found[name] = Rate(value=_short(_geometric_mean([rates[id].value for id in own])))
    return found


def _mean_speed(estimates: Iterable[Estimate]) -> float | None:
    values = [estimate.value for estimate in estimates]
    known = [value for value in values if value]
    return _short(_geometric_mean(known)) if known and len(known) == len(values) else None


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _curve(codec: CodecSummary) -> list[CurvePoint]:
    return [
        CurvePoint(
            label=point.label,
            ebpfp=_short(point.ebpfp),
            score=_short(point.score.value),
            retention=None if point.retention.value is None else _short(point.retention.value),
        )
        for point in codec.points
        if point.ebpfp is not None and point.score.value is not None
    ]


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    """Rows under names of their own: where two are called the same, the submission or a number stands behind."""
    called: dict[str, int] = {}
    for row in rows:
        called[row.codec] = called.get(row.codec, 0) + 1
    seen: dict[str, int] = {}
    told = []
    for row in rows:
        seen[row.codec] = seen.get(row.codec, 0) + 1
        label = row.codec
        if called[row.codec] > 1:
            label = f"{row.codec} ({row.submission or seen[row.codec]})"
        told.append(row.model_copy(update={"codec": label}))
    return told


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Best first; those that lack a scenario last, the more they have the sooner."""

    def key(row: Row) -> tuple[bool, float, int, str]:
        value = row.overall.value if row.overall is not None else math.inf
        return (row.overall is None, value, -len(row.scenarios), row.codec)

    ordered = sorted(rows, key=key)
    places = ranks([row.trained_on for row in ordered], [row.overall is not None for row in ordered])
    return [
        row.model_copy(update={"rank": rank, "class_rank": class_rank})
        for row, (rank, class_rank) in zip(ordered, places, strict=True)
    ]


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
