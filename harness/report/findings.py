"""What the figures say, in sentences: the first thing that a reader of the page sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.report import text
from harness.report.summary import GAP_NMSES, OverallRow, ScenarioSummary
from harness.statistics.curves import UNCODED_EBPFP
from lamofcbench.codecs.knowledge import CLASSES


def findings(
    overall: Sequence[OverallRow], winners: Sequence[str | None], ranking_percent: int, in_part: int = 0
) -> list[str]:
    """One sentence for each thing worth knowing; fewer where figures are missing.

    Args:
        overall: the codecs, the best first.
        winners: of each scenario, see `winner`.
        ranking_percent: by which EBPFP@p the best is the best.
        in_part: of how many scenarios the figures cover a part of the test samples alone.
    """
    compression = _compression(overall, str(ranking_percent), len(winners), in_part)
    found = [compression, _wins(winners), _bound(overall), _speed(overall), _classes(overall, str(ranking_percent))]
    return [sentence for sentence in found if sentence]


def winner(scenario: ScenarioSummary) -> str | None:
    """The codec that alone has the lowest rate on a scenario; None where none keeps the score, or several share it."""
    rates = {c.codec: c.retained_at(scenario.ranking_percent).ebpfp.value for c in scenario.codecs if c.role == "codec"}
    known = {codec: rate for codec, rate in rates.items() if rate is not None and rate < UNCODED_EBPFP}
    first = [codec for codec, rate in known.items() if rate == min(known.values())]
    return first[0] if len(first) == 1 else None


def _compression(overall: Sequence[OverallRow], percent: str, count: int, in_part: int) -> str:
    best = next((row for row in overall if row.compression[percent].value is not None), None)
    if best is None:
        return ""
    if not _keeps(best, percent):
        on_any = "" if count == 1 else f" on any of {count} scenarios"
        return f"No codec keeps {percent} % of the score at a lower rate than uncoded features{on_any}."
    where = _where(count, in_part)
    lead = _lead(overall, percent)
    size = _size(best, percent)
    return f"{text.shown(best.codec)} compresses most: {size} at {percent} % of the score{where}{lead}."


def _where(count: int, in_part: int) -> str:
    """What a mean runs over, and where a part of the test samples stands for all."""
    if count == 1:
        return " on a part of the test samples" if in_part else ""
    part = f"; {in_part} of them on a part of the test samples" if in_part else ""
    return f" over {count} scenarios (geometric mean{part})"


def _keeps(row: OverallRow, percent: str) -> bool:
    """Whether a codec keeps the score for less anywhere; where it never does, its rate is that of uncoded features."""
    rate = row.ebpfp[percent].value
    return rate is not None and rate < UNCODED_EBPFP


def _size(row: OverallRow, percent: str) -> str:
    return f"{'at least ' if row.at_least[percent] else ''}{text.times(row.compression[percent])}"


def _lead(overall: Sequence[OverallRow], percent: str) -> str:
    """By how much the first is ahead of the second, as far as that is known."""
    known = [(row, rate) for row in overall if (rate := row.ebpfp[percent].value) is not None]
    if len(known) < 2:
        return ""
    (first, rate), (second, next_rate) = known[:2]
    lead = text.lead(rate, next_rate, at_most=first.at_least[percent], next_at_most=second.at_least[percent])
    if not lead:
        return f"; the next, {text.shown(second.codec)}, {_size(second, percent)}"
    return f", {lead} as the next, {text.shown(second.codec)}"


def _classes(overall: Sequence[OverallRow], percent: str) -> str:
    """The best codec of each class of knowledge, where there are several."""
    best = {row.trained_on: row for row in reversed(overall) if row.class_rank == 1 and _keeps(row, percent)}
    named = [
        f"{text.shown(row.codec)} ({knowledge}, {_size(row, percent)})"
        for knowledge in CLASSES
        if (row := best.get(knowledge)) is not None
    ]
    return f"The best by what they were trained on: {', '.join(named)}." if len(named) > 1 else ""


def _wins(winners: Sequence[str | None]) -> str:
    wins = Counter(name for name in winners if name is not None)
    if len(winners) < 2 or not wins:
        return ""
    shares = ", ".join(f"{text.shown(name)} on {count}" for name, count in wins.most_common())
    if len(wins) > 1:
        return f"No codec wins everywhere: the lowest rate has {shares}."
    (name,) = wins
    if wins[name] == len(winners):
        return f"{text.shown(name)} has the lowest rate on every scenario."
    count = f"{wins[name]} of {len(winners)} scenarios"
    return f"{text.shown(name)} has the lowest rate on {count}, no codec alone on the others."


def _bound(overall: Sequence[OverallRow]) -> str:
    rows = [row for row in overall if row.bound_gap.value is not None and row.bound_scenarios]
    # Means over other scenarios do not compare: of some, a codec's errors may not span the one that is looked at.
    if not rows or len({row.bound_scenarios for row in rows}) > 1:
        return ""
    best = min(rows, key=_gap)
    joint = ""
    if best.joint_bound_gap is not None and len({row.joint_bound_scenarios for row in rows}) == 1:
        joint = f", and {_distance(best.joint_bound_gap)} the joint one on {best.joint_bound_scenarios}"
    return (
        f"Closest to the Gaussian bound of tensors one by one is {text.shown(best.codec)}: {_distance(_gap(best))} it "
        f"at NMSE {GAP_NMSES[0]:g} on {text.count(best.bound_scenarios, 'scenario')}{joint}."
    )


def _distance(gap: float) -> str:
    return f"{text.number(abs(gap))} bits a feature point {'below' if gap < 0 else 'above'}"


def _gap(row: OverallRow) -> float:
    assert row.bound_gap.value is not None  # the caller has checked
    return row.bound_gap.value


def _speed(overall: Sequence[OverallRow]) -> str:
    rows = [row for row in overall if row.decode_mb_per_s.value is not None]
    if not rows:
        return ""
    fastest = max(rows, key=lambda row: row.decode_mb_per_s.value or 0.0)
    return (
        f"{text.shown(fastest.codec)} decodes fastest: {text.estimate(fastest.decode_mb_per_s)} MB/s of raw features."
    )
