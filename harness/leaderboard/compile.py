"""The board from its entries. Every figure is the report's; here they are gathered, rounded and ranked.

Codecs of one column were measured on one thing: of results of several data revisions, or of several versions of a
metric or model, those count that are of the best checked and most codecs, and the board says what was left out.

A submission that nobody has replayed may hold anything. It has its own row, and changes nothing else: what is declared
of a scenario is taken from its declaration, what is measured of it from the best checked entry, and what fails to be
analysed or drawn is left out by itself.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.leaderboard.board import (
    DIGITS,
    Board,
    BoardScenario,
    CurvePoint,
    Edition,
    LeftOut,
    Rate,
    Row,
)
from harness.leaderboard.entries import Entry, find_entries
from harness.leaderboard.measured import Measured
from harness.leaderboard.names import legible, told_apart
from harness.leaderboard.page import drawn
from harness.report.analysis import ScenarioAnalysis
from harness.report.compile import analyse_results
from harness.report.editions import tracks
from harness.report.overall import mean_rate, mean_speed
from harness.report.ranks import ranks
from harness.report.summary import RETAINED_PERCENTS, CodecSummary, Estimate, ScenarioSummary, ranking_percent_of
from harness.report.text import shown
from harness.results.result import PROTOCOL_VERSION, Result
from harness.running.selection import EDITIONS
from harness.statistics import bootstrap
from harness.statistics.curves import Bound, joint_bound
from lamofcbench.codecs.knowledge import most
from lamofcbench.errors import LaMoFCBenchError, first_line, one_line
from lamofcbench.scenarios.base import SCENARIOS, Scenario
from lamofcbench.version import __version__

SUBJECT = ("data_revision", "metric_identity", "adapter_identity", "dtype", "batch_size")
"""Of what scores and rates depend on beyond the declaration of a scenario; kinds of devices stand beside each other."""
MAX_LABEL, MAX_REASON = 60, 300
LARGEST = 1e15
"""Of scores, rates and bytes; rounded, compared and drawn, such are still numbers."""
MOST_SAMPLES = 2**15
"""Of a scenario that is not registered here, of which a board shows nothing."""
MOST_WARNINGS = 20
"""Of one entry; a folder of a thousand broken results is not to fill the page."""
PARTS = ("categories", "kinds", "scenarios")
"""The fields of `Row` that hold figures by name."""


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
            measured, reasons = _measured(entry, resamples)
        except Exception as error:  # a stranger's results may be anything, and so may be what that raises
            if not entry.submission:
                raise
            what = str(error) if isinstance(error, LaMoFCBenchError) else f"cannot be shown: {first_line(error)}"
            left_out.append(LeftOut(what=entry.submission, reason=_reason(entry, what)))
            continue
        found.append(measured)
        left_out += reasons
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


def _measured(entry: Entry, resamples: int) -> tuple[Measured, list[LeftOut]]:
    """What an entry brings, made and drawn once by itself, so that what cannot be fails here; and what was left out."""
    with np.errstate(over="ignore", invalid="ignore"):  # figures that are no numbers are left out, without a word here
        analysed = analyse_results(entry.results, resamples=resamples, bound=False, objection=_too_many_samples)
    counted, left_out = _counted(entry, analysed.analyses)
    one = Measured(entry, counted)
    if entry.submission and counted and not any(map(one.shown, counted)):
        left_out.append(LeftOut(what=entry.submission, reason="it has no results of the codec that it submits"))
    for edition in EDITIONS:
        for percent in RETAINED_PERCENTS:
            drawn(_edition(edition, [one], percent))
    return one, [*left_out, *_warned(entry, analysed.warnings)]


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


def _too_many_samples(result: Result) -> str:
    """Why intervals are not drawn of a result, which takes memory for each of its samples; empty where they are."""
    known = result.scenario in SCENARIOS.names()
    most = SCENARIOS.get(result.scenario).test_samples if known else MOST_SAMPLES
    return f"it states {result.test_samples} test samples; at most {most} count" if result.test_samples > most else ""


def _objection(scenario: ScenarioSummary) -> str:
    """Why a scenario's results may stand beside no others; empty where they may."""
    if not scenario.current:
        return f"its protocol is {scenario.protocol_version}, this version's is {PROTOCOL_VERSION}"
    declared = SCENARIOS.get(scenario.scenario)
    if declared.digest != scenario.scenario_digest:
        return "the scenario is declared otherwise here"
    for name in ("version", "metric", "direction", "test_samples"):
        mine, due = getattr(scenario, name), getattr(declared, name)
        if mine != due:
            return f"it states {name.replace('_', ' ')} {one_line(str(mine))}; declared is {due}"
    if scenario.samples != scenario.test_samples:
        return f"it covers {scenario.samples} of {scenario.test_samples} samples"
    if scenario.anchor.value is None or scenario.floor.value is None:
        return "it has no result of uncoded features, or of the calibration mean"
    points = [point for codec in scenario.codecs for point in codec.points]
    figures = [scenario.raw_bytes_per_sample, *(point.score.value or 0.0 for point in points)]
    rates = [point.ebpfp for point in points if point.ebpfp is not None]
    if max(map(abs, figures)) > LARGEST or not all(1 / LARGEST < rate < LARGEST for rate in rates):
        return f"it has scores or rates beyond {LARGEST:g}, which no figure can hold"
    return ""


def _of_one_subject(found: Sequence[Measured]) -> tuple[list[Measured], list[LeftOut]]:
    """The results of each scenario that were measured on one thing, and what was not."""
    votes: dict[str, dict[tuple, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for one in found:
        for id, analysis in one.analyses.items():
            votes[id][_subject(analysis)][one.precedence(id)] += len(one.shown(id))
    # One row that is better checked outweighs any number of others: nobody floods a board into another revision.
    levels = sorted({one.precedence(id) for one in found for id in one.analyses})
    chosen = {
        id: max(counts, key=lambda subject: ([counts[subject][level] for level in levels], subject))
        for id, counts in votes.items()
    }
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


def _edition(name: str, found: Sequence[Measured], percent: int | None = None) -> Edition:
    """The codecs of one edition, over all entries.

    Args:
        name: of the edition.
        found: the entries.
        percent: ranks codecs; None for that of the scenarios.
    """
    summaries: dict[str, ScenarioSummary] = {}
    for id in {id for one in found for id in one.analyses}:
        best = min((one for one in found if id in one.analyses), key=lambda one: one.precedence(id))
        summaries[id] = best.analyses[id].summary
    own = [scenario for scenario in SCENARIOS if scenario.id in summaries and scenario.edition == name]
    heard = {id for one in found for id in one.analyses if one.is_replayed(id) and one.shown(id)}
    judged = [scenario for scenario in own if scenario.id in heard] or own
    percent = percent or min((ranking_percent_of(scenario.test_samples) for scenario in judged), default=95)
    counted = {summary.scenario for summary in tracks([summaries[scenario.id] for scenario in judged])}
    scenarios = [_scenario(scenario, summaries[scenario.id]) for scenario in own]
    groups = _groups([scenario for scenario in scenarios if scenario.id in counted])
    rows = [row for one in found for row in _rows(one, scenarios, groups, percent)]
    return Edition(name=name, percent=percent, scenarios=scenarios, rows=_ranked(told_apart(rows)))


def _scenario(declared: Scenario, summary: ScenarioSummary) -> BoardScenario:
    assert summary.anchor.value is not None and summary.floor.value is not None  # see `_objection`
    return BoardScenario(
        id=declared.id,
        title=declared.title,
        category=declared.category,
        features=summary.features,
        variant_of=declared.variant_of,
        metric=declared.metric,
        direction=declared.direction,
        samples=declared.test_samples,
        version=declared.version,
        data_revision=shown(summary.data_revision[:16]),
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
    codecs = dict.fromkeys(codec.codec for id in analyses for codec in one.shown(id))
    for codec in codecs:
        row = _row(one, codec, analyses, groups, percent)
        if row.scenarios:
            yield row


def _row(one: Measured, codec: str, analyses: Mapping[str, ScenarioAnalysis], groups: Groups, percent: int) -> Row:
    """A codec's row; it has no mean over a group of scenarios one of which it lacks, of rates or speeds."""
    entry = one.entry
    found = {id: own for id, analysis in analyses.items() for own in analysis.summary.codecs if own.codec == codec}
    due = groups.get(("overall", ""), [])
    counted = [id for id in due if id in found]
    whole = [analyses[id] for id in counted] if counted == due else []
    means: dict[tuple[str, str], Rate] = {}
    for group, ids in groups.items():
        if found.keys() >= set(ids):
            bound = joint_bound([found[id].retained_at(percent).bound for id in ids])
            rate = _as_rate(mean_rate(codec, [analyses[id] for id in ids], percent), bound)
            means |= {group: rate} if rate is not None else {}
    first = next(iter(found.values()))
    told = {name: legible(value) if name != "link" and value else value for name, value in entry.about.items()}
    return Row(
        **{"codec": legible(codec), **told},
        name=legible(first.name),
        submission=entry.submission,
        level=entry.level,
        checked_on=entry.checked_on,
        not_replayed=[id for id in found if not one.is_replayed(id)],
        trained_on=most([*(own.trained_on for own in found.values()), *([entry.knowledge] if entry.knowledge else [])]),
        state_bytes=max(found[id].state_bytes for id in counted or found),
        encode_mb_per_s=_rounded(mean_speed(codec, whole, "encode")),
        decode_mb_per_s=_rounded(mean_speed(codec, whole, "decode")),
        overall=means.get(("overall", "")),
        categories={name: rate for (kind, name), rate in means.items() if kind == "categories"},
        kinds={name: rate for (kind, name), rate in means.items() if kind == "kinds"},  # type: ignore[misc]
        scenarios={id: rate for id, own in found.items() if (rate := _rate(own, percent)) is not None},
        curves={id: _curve(own) for id, own in found.items()},
    )


def _rate(codec: CodecSummary, percent: int) -> Rate | None:
    retained = codec.retained_at(percent)
    return _as_rate(retained.ebpfp, retained.bound)


def _as_rate(estimate: Estimate, bound: Bound | None) -> Rate | None:
    """A rate in full, by which `_ranked` ranks before it rounds."""
    if estimate.value is None:
        return None
    told = None if bound == "exact" else bound
    return Rate(value=estimate.value, low=estimate.low, high=estimate.high, bound=told)


def _rounded(estimate: Estimate) -> float | None:
    return None if estimate.value is None else _short(estimate.value)


def _curve(codec: CodecSummary) -> list[CurvePoint]:
    return [
        CurvePoint(label=legible(point.label, MAX_LABEL), ebpfp=_short(point.ebpfp), score=_short(point.score.value))
        for point in codec.points
        if point.ebpfp is not None and point.score.value is not None
    ]


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


# ------------------------------------------------------------------------------------------------------------ order


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Each figure with its ranks, then rounded; the best rows first, those that lack scenarios last, fullest first."""
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
        over = figure[1] if figure[0] == "scenarios" else None
        places = ranks(
            [ordered[at].trained_on for _, at in rated],
            [value if ordered[at].ranks_on(over) else None for value, at in rated],
        )
        for (_, at), (rank, class_rank) in zip(rated, places, strict=True):
            figures[at][figure] = _placed(figures[at][figure], rank, class_rank)
    return [
        row.model_copy(
            update={
                "overall": own.get(("overall", "")),
                **{part: {name: own[part, name] for name in getattr(row, part)} for part in PARTS},
            }
        )
        for row, own in zip(ordered, figures, strict=True)
    ]


def _placed(rate: Rate, rank: int | None, class_rank: int | None) -> Rate:
    """A rate with its ranks, in as many digits as are shown."""
    low, high = (None if end is None else _short(end) for end in (rate.low, rate.high))
    return Rate(value=_short(rate.value), low=low, high=high, bound=rate.bound, rank=rank, class_rank=class_rank)
