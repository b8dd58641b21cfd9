"""The board from its entries. Every figure is the report's; here they are gathered, rounded and ranked.

Codecs of one column were measured on one thing: of results of several data revisions, or of several versions of a
metric or model, those count that are of the best checked and most codecs, and the board says what was left out.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.leaderboard.board import (
    DIGITS,
    LEVELS,
    Board,
    BoardScenario,
    CurvePoint,
    Edition,
    LeftOut,
    Rate,
    Row,
)
from harness.leaderboard.entries import Entry, find_entries
from harness.report.analysis import ScenarioAnalysis
from harness.report.compile import analyse_results
from harness.report.editions import tracks
from harness.report.overall import mean_rate, mean_speed
from harness.report.ranks import ranks
from harness.report.summary import CodecSummary, Estimate, ScenarioSummary
from harness.report.text import shown
from harness.results.result import PROTOCOL_VERSION
from harness.running.selection import EDITIONS
from harness.statistics import bootstrap
from harness.statistics.curves import Bound
from lamofcbench.codecs.knowledge import most
from lamofcbench.errors import LaMoFCBenchError, one_line
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.version import __version__

SUBJECT = ("data_revision", "metric_identity", "adapter_identity", "dtype", "batch_size")
"""Of what scores and rates depend on beyond the declaration of a scenario; kinds of devices stand beside each other."""
MAX_LABEL, MAX_REASON = 60, 300
MOST_WARNINGS = 20
"""Of one entry; a folder of a thousand broken results is not to fill the page."""
PARTS = ("categories", "kinds", "scenarios")
"""The fields of `Row` that hold figures by name."""


@dataclass(frozen=True)
class Measured:
    """An entry's results on the scenarios that count."""

    entry: Entry
    analyses: dict[str, ScenarioAnalysis]


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
    found: list[Measured] = []
    left_out: list[LeftOut] = []
    for entry in entries:
        tell(f"reading {entry.place}")
        try:
            analysed = analyse_results(entry.results, resamples=resamples, bound=False)
        except LaMoFCBenchError as error:
            if not entry.submission:
                raise
            left_out.append(LeftOut(what=entry.submission, reason=_reason(entry, str(error))))
            continue
        counted, reasons = _counted(entry, analysed.analyses)
        found.append(Measured(entry, counted))
        left_out += [*reasons, *_warned(entry, analysed.warnings)]
    found, strangers = _of_one_subject(found)
    left_out += strangers
    editions = [edition for edition in (_edition(name, found) for name in EDITIONS) if edition.rows]
    if not editions:
        why = "; ".join(f"{one.what}: {one.reason}" for one in (refused + left_out)[:3])
        raise LaMoFCBenchError(
            f"nothing in {source} can be shown: a board takes results of protocol {PROTOCOL_VERSION} on whole test "
            f"splits of the {', '.join(EDITIONS)} editions" + (f" ({why})" if why else "")
        )
    return Board(
        lamofcbench_version=__version__,
        protocol_version=PROTOCOL_VERSION,
        source=shown(source, 200),
        confidence=bootstrap.CONFIDENCE,
        editions=editions,
        refused=sorted(refused, key=lambda one: one.what),
        left_out=left_out,
    )


# ------------------------------------------------------------------------------------------------------ what counts


def _counted(entry: Entry, analyses: Sequence[ScenarioAnalysis]) -> tuple[dict[str, ScenarioAnalysis], list[LeftOut]]:
    """The scenarios that a board may show, and why not the others; those of users' own are passed over."""
    counted, left_out = {}, []
    for analysis in analyses:
        scenario = analysis.summary
        if scenario.scenario not in SCENARIOS.names() or SCENARIOS.get(scenario.scenario).edition not in EDITIONS:
            continue
        reason = _objection(scenario)
        if reason:
            left_out.append(LeftOut(what=f"{entry.place}, {scenario.scenario}", reason=reason))
        else:
            counted[scenario.scenario] = analysis
    return counted, left_out


def _warned(entry: Entry, warnings: Sequence[str]) -> Iterator[LeftOut]:
    """What the report warns of: results that it skipped or left out, and what to know of others."""
    for warning in warnings[:MOST_WARNINGS]:
        yield LeftOut(what=entry.place, reason=_reason(entry, warning))
    if len(warnings) > MOST_WARNINGS:
        yield LeftOut(what=entry.place, reason=f"{len(warnings) - MOST_WARNINGS} more warnings are not listed")


def _reason(entry: Entry, text: str) -> str:
    """On a line, without the folder's path, which is nobody's business."""
    text = text.replace(f"{entry.results}/", "").replace(str(entry.results), entry.place)
    return one_line(text, MAX_REASON)


def _objection(scenario: ScenarioSummary) -> str:
    """Why a scenario's results may stand beside no others; empty where they may."""
    if not scenario.current:
        return f"its protocol is {scenario.protocol_version}, this version's is {PROTOCOL_VERSION}"
    if SCENARIOS.get(scenario.scenario).digest != scenario.scenario_digest:
        return "the scenario is declared otherwise here"
    if scenario.samples != scenario.test_samples:
        return f"it covers {scenario.samples} of {scenario.test_samples} samples"
    if scenario.anchor.value is None or scenario.floor.value is None:
        return "it has no result of uncoded features, or of the calibration mean"
    return ""


def _of_one_subject(found: Sequence[Measured]) -> tuple[list[Measured], list[LeftOut]]:
    """The results of each scenario that were measured on one thing, and what was not."""
    votes: dict[str, Counter[tuple]] = defaultdict(Counter)
    trust = {level: len(LEVELS) - at for at, level in enumerate(LEVELS)}
    for one in found:
        for id, analysis in one.analyses.items():
            # One row of a higher level outweighs any number of lower ones: nobody floods a board into another revision.
            rows = sum(codec.role == "codec" and one.entry.shows(codec.name) for codec in analysis.summary.codecs)
            votes[id][_subject(analysis)] += rows * 1000 ** trust[one.entry.level]
    chosen = {id: max(counts, key=lambda subject: (counts[subject], subject)) for id, counts in votes.items()}
    kept, left_out = [], []
    for one in found:
        same = {id: analysis for id, analysis in one.analyses.items() if _subject(analysis) == chosen[id]}
        kept.append(dataclasses.replace(one, analyses=same))
        for id in one.analyses.keys() - same.keys():
            parts = zip(SUBJECT, _subject(one.analyses[id]), chosen[id], strict=True)
            other = ", ".join(name.replace("_", " ") for name, mine, theirs in parts if mine != theirs)
            left_out.append(LeftOut(what=f"{one.entry.place}, {id}", reason=f"it has another {other} than the rest"))
    return kept, sorted(left_out, key=lambda one: one.what)


def _subject(analysis: ScenarioAnalysis) -> tuple:
    return tuple(str(getattr(analysis.summary, name)) for name in SUBJECT)


# ------------------------------------------------------------------------------------------------------------- rows


def _edition(name: str, found: Sequence[Measured]) -> Edition:
    """The codecs of one edition, over all entries."""
    summaries = {id: analysis.summary for one in found for id, analysis in one.analyses.items()}
    own = [summaries[scenario.id] for scenario in SCENARIOS if scenario.id in summaries and scenario.edition == name]
    scenarios = [_scenario(summary) for summary in own]
    percent = min((summary.ranking_percent for summary in own), default=95)
    counted = {summary.scenario for summary in tracks(own)}
    groups = _groups([scenario for scenario in scenarios if scenario.id in counted])
    rows = [row for one in found for row in _rows(one, scenarios, groups, percent)]
    return Edition(name=name, percent=percent, scenarios=scenarios, rows=_ranked(_told_apart(rows)))


def _scenario(summary: ScenarioSummary) -> BoardScenario:
    assert summary.anchor.value is not None and summary.floor.value is not None  # see `_objection`
    declared = SCENARIOS.get(summary.scenario)
    return BoardScenario(
        id=summary.scenario,
        title=summary.title,
        category=declared.category,
        features=summary.features,
        variant_of=declared.variant_of,
        metric=summary.metric,
        direction=summary.direction,
        samples=summary.samples,
        version=summary.version,
        data_revision=summary.data_revision[:16],
        raw_bytes_per_sample=_short(summary.raw_bytes_per_sample),
        anchor=_short(summary.anchor.value),
        floor=_short(summary.floor.value),
    )


Groups = Mapping[tuple[str, str], list[str]]
"""The scenarios that a mean runs over, by field of `Row` and name."""


def _groups(counted: Sequence[BoardScenario]) -> Groups:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for scenario in counted:
        groups["overall", ""].append(scenario.id)
        groups["categories", scenario.category].append(scenario.id)
        if scenario.features is not None:
            groups["kinds", scenario.features].append(scenario.id)
    return groups


def _rows(one: Measured, scenarios: Sequence[BoardScenario], groups: Groups, percent: int) -> Iterator[Row]:
    analyses = {scenario.id: one.analyses[scenario.id] for scenario in scenarios if scenario.id in one.analyses}
    codecs = dict.fromkeys(
        codec.codec
        for analysis in analyses.values()
        for codec in analysis.summary.codecs
        if codec.role == "codec" and one.entry.shows(codec.name)
    )
    for codec in codecs:
        row = _row(one.entry, codec, analyses, groups, percent)
        if row.scenarios:
            yield row


def _row(entry: Entry, codec: str, analyses: Mapping[str, ScenarioAnalysis], groups: Groups, percent: int) -> Row:
    """A codec's row; it has no mean over a group of scenarios one of which it lacks."""
    found = {id: own for id, analysis in analyses.items() for own in analysis.summary.codecs if own.codec == codec}
    own_analyses = [analyses[id] for id in found]
    means: dict[tuple[str, str], Rate] = {}
    for group, ids in groups.items():
        if found.keys() >= set(ids):
            bound = _joint_bound([found[id].retained_at(percent).bound for id in ids])
            rate = _as_rate(mean_rate(codec, [analyses[id] for id in ids], percent), bound)
            means |= {group: rate} if rate is not None else {}
    first = next(iter(found.values()))
    told = {name: shown(value) if name != "link" and value else value for name, value in entry.about.items()}
    return Row(
        **{"codec": shown(codec), **told},
        name=shown(first.name),
        submission=entry.submission,
        level=entry.level,
        checked_on=entry.checked_on,
        trained_on=most([*(own.trained_on for own in found.values()), *([entry.knowledge] if entry.knowledge else [])]),
        state_bytes=max(own.state_bytes for own in found.values()),
        encode_mb_per_s=_rounded(mean_speed(codec, own_analyses, "encode")),
        decode_mb_per_s=_rounded(mean_speed(codec, own_analyses, "decode")),
        overall=means.get(("overall", "")),
        categories={name: rate for (kind, name), rate in means.items() if kind == "categories"},
        kinds={name: rate for (kind, name), rate in means.items() if kind == "kinds"},  # type: ignore[misc]
        scenarios={id: rate for id, own in found.items() if (rate := _rate(own, percent)) is not None},
        curves={id: _curve(own) for id, own in found.items()},
    )


def _rate(codec: CodecSummary, percent: int) -> Rate | None:
    retained = codec.retained_at(percent)
    return _as_rate(retained.ebpfp, None if retained.bound == "exact" else retained.bound)


def _joint_bound(bounds: Sequence[Bound | None]) -> Bound | None:
    """What a mean of rates is: at most its value where one of them is, never reached where none is."""
    if "at most" in bounds:
        return "at most"
    return "never" if set(bounds) == {"never"} else None


def _as_rate(estimate: Estimate, bound: Bound | None = None) -> Rate | None:
    if estimate.value is None:
        return None
    low, high = (None if end is None else _short(end) for end in (estimate.low, estimate.high))
    return Rate(value=_short(estimate.value), low=low, high=high, bound=bound)


def _rounded(estimate: Estimate) -> float | None:
    return None if estimate.value is None else _short(estimate.value)


def _curve(codec: CodecSummary) -> list[CurvePoint]:
    return [
        CurvePoint(label=one_line(point.label, MAX_LABEL), ebpfp=_short(point.ebpfp), score=_short(point.score.value))
        for point in codec.points
        if point.ebpfp is not None and point.score.value is not None
    ]


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


# ------------------------------------------------------------------------------------------------------------ order


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    """Rows under names of their own: where several are called the same, the submission or a number stands behind."""
    called = Counter(row.codec for row in rows)
    taken: set[str] = set()
    told = []
    for row in rows:
        base = (
            row.codec if called[row.codec] == 1 else f"{row.codec} ({row.submission})" if row.submission else row.codec
        )
        label, number = base, 1
        while label in taken:
            number += 1
            label = f"{base} {number}"
        taken.add(label)
        told.append(row.model_copy(update={"codec": label}))
    return told


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Each figure with its ranks; the best rows first, those that lack scenarios behind, by how many they have."""
    ordered = sorted(
        rows,
        key=lambda row: (
            row.overall is None, row.overall.value if row.overall else 0.0, -len(row.scenarios), row.codec,
        ),
    )  # fmt: skip
    figures: list[dict[tuple[str, str], Rate]] = [
        {
            **({("overall", ""): row.overall} if row.overall is not None else {}),
            **{(part, name): rate for part in PARTS for name, rate in getattr(row, part).items()},
        }
        for row in ordered
    ]
    for figure in dict.fromkeys(figure for own in figures for figure in own):
        rated = sorted((own[figure].value, at) for at, own in enumerate(figures) if figure in own)
        places = ranks([ordered[at].trained_on for _, at in rated], [True] * len(rated))
        for (_, at), (rank, class_rank) in zip(rated, places, strict=True):
            figures[at][figure] = figures[at][figure].model_copy(update={"rank": rank, "class_rank": class_rank})
    return [
        row.model_copy(
            update={
                "overall": own.get(("overall", "")),
                **{part: {name: own[part, name] for name in getattr(row, part)} for part in PARTS},
            }
        )
        for row, own in zip(ordered, figures, strict=True)
    ]
