"""Which operating point to take: of all that were measured, those that keep the task within a budget, and why.

An operating point is a codec with its parameters, the same on all scenarios that are asked about: an engineer sets one,
and the next request may be of any of them. It keeps the task where it keeps so much of the score on every scenario.
Asked about are the tracks of one edition; codecs without such a point are named.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from harness.report import text
from harness.report.deployment import transfer_seconds
from harness.report.editions import by_edition, tracks
from harness.report.points import spec_of_params
from harness.report.summary import CodecSummary, RatePoint, ScenarioSummary, Summary
from harness.statistics import curves
from lamofcbench.scenarios.kinds import KINDS, Kind


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Question(_Strict):
    """What an engineer asks."""

    keep_percent: float = Field(default=95, gt=0, le=100, description="of the score, on every scenario")
    link_mbit_per_s: float = Field(default=10, gt=0, description="10^6 bits a second")
    target_ebpfp: float | None = Field(default=None, gt=0, description="the highest rate; null for any")
    max_state_bytes: int | None = Field(default=None, ge=0, description="of learned parameters; null for any")


class OperatingPoint(_Strict):
    """A codec with its parameters over some scenarios."""

    codec: str = Field(description="as the command line takes it, parameters included")
    ebpfp: float = Field(description="geometric mean over scenarios")
    smaller: float = Field(description="32 / ebpfp")
    retention: float = Field(description="on the scenario where it is lowest, 1 for the whole score")
    weakest_scenario: str = Field(description="which that is")
    kept_scenarios: int = Field(description="on how many it keeps what was asked for")
    encode_mb_per_s: float | None = Field(description="geometric mean over scenarios")
    decode_mb_per_s: float | None = Field(description="geometric mean over scenarios")
    seconds: float | None = Field(description="encode, transfer and decode of a sample, mean over scenarios")
    speedup: float | None = Field(description="over sending uncoded features, geometric mean over scenarios")
    state_bytes: int = Field(description="of learned parameters, the most over scenarios")


class Answer(_Strict):
    """The operating points to take for some scenarios; each null where no point will do."""

    edition: str = Field(description="whose scenarios")
    features: Kind | None = Field(description="the kind of features; null for all scenarios together")
    scenarios: list[str] = Field(description="tracks; variants only where there is nothing else of these features")
    lowest_rate: OperatingPoint | None
    fastest: OperatingPoint | None = Field(description="by encoding and decoding together")
    soonest: OperatingPoint | None = Field(description="over the link; null too where uncoded features arrive first")
    nearest: OperatingPoint | None = Field(description="where none keeps the task within the budget: see `_nearest`")
    uncoded_seconds: float = Field(description="transfer of an uncoded sample over the link, mean over scenarios")
    considered: int = Field(description="operating points that ran on all of these scenarios")
    over_state: list[str] = Field(description="codecs left out for their state alone")
    not_everywhere: list[str] = Field(description="codecs left out as no point of theirs ran on all of these scenarios")
    unknown: list[str] = Field(description="codecs left out as a rate or share of the score is unknown of every point")


def recommend(summary: Summary, question: Question, features: Kind | None = None) -> list[Answer]:
    """For each edition an answer for each kind of features, after one for all of them where there are several.

    Args:
        summary: what was measured.
        question: the budget.
        features: the only kind to answer for; None for all.
    """
    parts = by_edition(summary).values()
    return [answer for part in parts for answer in _of_edition(part.scenarios, question, features)]


def _of_edition(scenarios: Sequence[ScenarioSummary], question: Question, features: Kind | None) -> list[Answer]:
    kinds = {kind: tracks([part for part in scenarios if part.features == kind]) for kind in KINDS}
    if features is not None:
        return [_answer(kinds[features], question, features)] if kinds[features] else []
    found = [_answer(parts, question, kind) for kind, parts in kinds.items() if parts]
    everything = tracks(scenarios)
    if len(found) == 1 and len(found[0].scenarios) == len(everything):
        return found
    return [_answer(everything, question, None), *found]


def _answer(scenarios: Sequence[ScenarioSummary], question: Question, features: Kind | None) -> Answer:
    judged = [(run.codec, _operating_point(run, question)) for run in _runs(scenarios) if run.covers(scenarios)]
    points = [point for _, point in judged if point is not None]
    most = question.max_state_bytes
    too_large = [point for point in points if most is not None and point.state_bytes > most]
    within = [point for point in points if point not in too_large]
    budget = [point for point in within if question.target_ebpfp is None or point.ebpfp <= question.target_ebpfp]
    keeping = [point for point in budget if point.kept_scenarios == len(scenarios)]
    soonest = _best(keeping, lambda point: point.speedup)
    ran = {codec.codec for part in scenarios for codec in part.codecs if codec.role == "codec"}
    everywhere, known = {name for name, _ in judged}, {name for name, point in judged if point is not None}
    return Answer(
        edition=scenarios[0].edition,
        features=features,
        scenarios=[part.scenario for part in scenarios],
        lowest_rate=_best(keeping, lambda point: -point.ebpfp),
        fastest=_best(keeping, _round_trip),
        soonest=soonest if soonest is not None and (soonest.speedup or 0) > 1 else None,
        nearest=None if keeping else _nearest(budget, points, question),
        uncoded_seconds=_mean([_uncoded_seconds(part, question) for part in scenarios]),
        considered=len(points),
        over_state=sorted({_name(point.codec) for point in too_large} - {_name(point.codec) for point in within}),
        not_everywhere=sorted(ran - everywhere),
        unknown=sorted(everywhere - known),
    )


def _best(points: Iterable[OperatingPoint], worth: Callable[[OperatingPoint], float | None]) -> OperatingPoint | None:
    """The point of the highest worth; of equal ones the one of the lowest rate."""
    rated = [(value, -point.ebpfp, point) for point in points if (value := worth(point)) is not None]
    return max(rated, key=lambda one: one[:2])[2] if rated else None


def _nearest(
    budget: Sequence[OperatingPoint], points: Sequence[OperatingPoint], question: Question
) -> OperatingPoint | None:
    """Within the budget the point that keeps most of the task; where none is, the one that misses by the least.

    Points that keep the task come first among the latter: what is to give way there is the budget.
    """
    if budget:
        return _best(budget, lambda point: point.retention)
    most_kept = max((point.kept_scenarios for point in points), default=0)
    candidates = [point for point in points if point.kept_scenarios == most_kept]
    return _best(candidates, lambda point: -_excess(point, question))


def _excess(point: OperatingPoint, question: Question) -> float:
    """How many times a point takes of what it may, by the budget that it misses most; 1 or less within all."""
    rate = 0.0 if question.target_ebpfp is None else point.ebpfp / question.target_ebpfp
    state = 0.0 if question.max_state_bytes is None else point.state_bytes / max(question.max_state_bytes, 0.5)
    return max(rate, state)


def _misses(point: OperatingPoint, answer: Answer, question: Question) -> list[str]:
    """By how much the nearest point misses what was asked for, in words."""
    count, kept = len(answer.scenarios), f"{question.keep_percent:g} %"
    found = []
    if question.target_ebpfp is not None and point.ebpfp > question.target_ebpfp:
        over = f"{text.number(point.ebpfp)}, {text.number(point.ebpfp / question.target_ebpfp)} times the target"
        found.append(f"EBPFP is {over} of {question.target_ebpfp:g}")
    if question.max_state_bytes is not None and point.state_bytes > question.max_state_bytes:
        over = f"{text.size(point.state_bytes - question.max_state_bytes)} more than {question.max_state_bytes:,}"
        found.append(f"state is {text.size(point.state_bytes)} bytes, {over}")
    if found:
        found = [f"no point is within the budget; here {' and '.join(found)}"]
    if point.kept_scenarios < count:
        lacks = f"{question.keep_percent - 100 * point.retention:.1f} points of the {kept}"
        found.append(
            f"no point {'' if found else 'within the budget '}keeps it everywhere; "
            f"this one does on {point.kept_scenarios} of {count} and lacks {lacks}"
        )
    return found


def _round_trip(point: OperatingPoint) -> float | None:
    if not point.encode_mb_per_s or not point.decode_mb_per_s:
        return None
    return 1 / (1 / point.encode_mb_per_s + 1 / point.decode_mb_per_s)


@dataclass(frozen=True)
class _Run:
    """A codec with its parameters wherever it ran.

    Attributes:
        spec: as the command line takes it.
        found: the scenarios, with the codec and its point there.
    """

    codec: str
    spec: str
    found: list[tuple[ScenarioSummary, CodecSummary, RatePoint]]

    def covers(self, scenarios: Sequence[ScenarioSummary]) -> bool:
        """Whether it ran on all of them."""
        return len({part.scenario for part, _, _ in self.found}) == len(scenarios)


def _runs(scenarios: Sequence[ScenarioSummary]) -> list[_Run]:
    """What ran on any of the scenarios, by parameters."""
    runs: dict[tuple[str, str], list[tuple[ScenarioSummary, CodecSummary, RatePoint]]] = {}
    ladders: dict[str, dict[str, Mapping[str, Any]]] = {}
    for part in scenarios:
        for codec in part.codecs:
            for point in codec.points if codec.role == "codec" else ():
                key = codec.codec, json.dumps(point.params, sort_keys=True)
                runs.setdefault(key, []).append((part, codec, point))
                ladders.setdefault(codec.codec, {})[key[1]] = point.params
    return [
        _Run(name, spec_of_params(name, found[0][2].params, list(ladders[name].values())), found)
        for (name, _), found in runs.items()
    ]


def _operating_point(run: _Run, question: Question) -> OperatingPoint | None:
    """What a run comes to over its scenarios; None where a rate or a share of the score is unknown."""
    ebpfp = _geometric_mean([point.ebpfp for _, _, point in run.found])
    retentions = [
        (value, part.scenario) for part, _, point in run.found if (value := point.retention.value) is not None
    ]
    if ebpfp is None or len(retentions) < len(run.found):
        return None
    seconds = [_seconds(point, question) for _, _, point in run.found]
    uncoded = [_uncoded_seconds(part, question) for part, _, _ in run.found]
    lowest, weakest = min(retentions)
    return OperatingPoint(
        codec=run.spec,
        ebpfp=ebpfp,
        smaller=curves.UNCODED_EBPFP / ebpfp,
        retention=lowest,
        weakest_scenario=weakest,
        kept_scenarios=sum(curves.keeps(value, question.keep_percent / 100) for value, _ in retentions),
        encode_mb_per_s=_geometric_mean([point.encode_mb_per_s for _, _, point in run.found]),
        decode_mb_per_s=_geometric_mean([point.decode_mb_per_s for _, _, point in run.found]),
        seconds=None if None in seconds else _mean([one for one in seconds if one is not None]),
        speedup=_geometric_mean([plain / one if one else None for plain, one in zip(uncoded, seconds, strict=True)]),
        state_bytes=max(_state_bytes(codec, point) for _, codec, point in run.found),
    )


def _state_bytes(codec: CodecSummary, point: RatePoint) -> int:
    """Of the point; an older report knows the codec's largest alone."""
    return codec.state_bytes if point.state_bytes is None else point.state_bytes


def _seconds(point: RatePoint, question: Question) -> float | None:
    if point.encode_seconds is None or point.decode_seconds is None:
        return None
    transfer = transfer_seconds(point.bytes_per_sample, question.link_mbit_per_s)
    return point.encode_seconds + transfer + point.decode_seconds


def _uncoded_seconds(scenario: ScenarioSummary, question: Question) -> float:
    return transfer_seconds(scenario.raw_bytes_per_sample, question.link_mbit_per_s)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _geometric_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value]
    return float(curves.geometric_mean(known)) if len(known) == len(values) else None


def _name(spec: str) -> str:
    return spec.partition(":")[0]


# --------------------------------------------------------------------------------------------------------- in sentences


def titles(answers: Sequence[Answer], question: Question) -> list[str]:
    """Whom each answer is for, on a line; with its edition where there are several."""
    several = len({answer.edition for answer in answers}) > 1
    found = []
    for answer in answers:
        count = len(answer.scenarios)
        where = answer.scenarios[0] if count == 1 else f"{count} scenarios"
        what = "All features" if answer.features is None else answer.features
        edition = f"{answer.edition} edition, " if several else ""
        kept = f"{question.keep_percent:g} % of the task"
        found.append(f"{what} ({edition}{text.shown(where)}): one measured setting that keeps {kept}")
    return found


def lines(answer: Answer, question: Question) -> list[tuple[str, str, list[str]]]:
    """What to take for what, and the reasons: (aim, operating point, sentences)."""
    link = f"{question.link_mbit_per_s:g} Mbit/s"
    found: list[tuple[str, OperatingPoint | None]] = [
        ("lowest rate", answer.lowest_rate),
        ("fastest", answer.fastest),
        (f"over {link}", answer.soonest),
    ]
    aims: dict[str, list[str]] = {}
    points = {point.codec: point for _, point in found if point is not None}
    for aim, point in found:
        if point is not None:
            aims.setdefault(point.codec, []).append(aim)
    rows = [
        (", ".join(aims[codec]), text.shown(codec), reasons(point, answer, question)) for codec, point in points.items()
    ]
    if _outruns(answer):
        rows.append(
            (f"over {link}", "uncoded", [f"no point arrives sooner than {text.duration(answer.uncoded_seconds)}"])
        )
    if answer.nearest is not None:
        missed = _misses(answer.nearest, answer, question)
        rows.append(
            ("nearest", text.shown(answer.nearest.codec), [*missed, *reasons(answer.nearest, answer, question)])
        )
    return rows


def _outruns(answer: Answer) -> bool:
    """Whether uncoded features arrive before every point that keeps the task; no where there is none, or no time."""
    return answer.fastest is not None and answer.soonest is None


def why_none(answer: Answer) -> str:
    """Why there is nothing to take, not even a nearest point."""
    if answer.unknown:
        return "no point can be judged"
    return "no point ran on all of them" if answer.not_everywhere else "no codec ran"


def left_out(answer: Answer) -> list[str]:
    """Sentences that name the codecs which an answer leaves out, and why."""
    count = len(answer.scenarios)
    groups = {
        "Left out for their state alone": answer.over_state,
        f"Not considered, as no one setting of theirs ran on all {count}": answer.not_everywhere,
        "Not considered, as their rate or what they keep of the score is unknown": answer.unknown,
    }
    return [f"{why}: {', '.join(map(text.shown, names))}." for why, names in groups.items() if names]


def over_links(answers: Sequence[Answer], question: Question) -> list[str]:
    """What to take for the link, in sentences for each edition's first answer; none where nothing is known."""
    firsts: dict[str, Answer] = {}
    for answer in answers:
        firsts.setdefault(answer.edition, answer)
    found = []
    for edition, answer in firsts.items():
        said = _over_link(answer, question)
        if said:
            found.append(" ".join([f"{edition} edition: {said}" if len(firsts) > 1 else said, *left_out(answer)]))
    return found


def _over_link(answer: Answer, question: Question) -> str:
    link = f"{question.link_mbit_per_s:g} Mbit/s"
    kept = f"{question.keep_percent:g} % of the task"
    uncoded, point = text.duration(answer.uncoded_seconds), answer.soonest
    if point is not None:
        return (
            f"Over {link} take {text.shown(point.codec)}: it arrives first of the measured points that keep {kept}, "
            f"{text.number(point.speedup)} times sooner than uncoded ({uncoded})."
        )
    if _outruns(answer):
        return f"Over {link} no point that keeps {kept} everywhere arrives sooner than uncoded features ({uncoded})."
    if answer.lowest_rate is not None or not answer.considered:
        return ""
    where = "" if len(answer.scenarios) == 1 else f" on all {len(answer.scenarios)} scenarios"
    return f"No one measured setting keeps {kept}{where}."


def reasons(point: OperatingPoint, answer: Answer, question: Question) -> list[str]:
    """What speaks for an operating point, in figures."""
    found = [
        f"EBPFP {text.number(point.ebpfp)}, {text.number(point.smaller)} times smaller",
        f"keeps {100 * point.retention:.1f} % at least ({text.shown(point.weakest_scenario)})",
    ]
    if point.seconds is not None:
        found.append(
            f"{text.duration(point.seconds)} a sample over {question.link_mbit_per_s:g} Mbit/s, uncoded "
            f"{text.duration(answer.uncoded_seconds)}"
        )
    if point.encode_mb_per_s is not None and point.decode_mb_per_s is not None:
        found.append(
            f"encodes {text.number(point.encode_mb_per_s)} and decodes {text.number(point.decode_mb_per_s)} MB/s"
        )
    found.append(f"state {text.size(point.state_bytes)} bytes" if point.state_bytes else "learns nothing")
    return found
