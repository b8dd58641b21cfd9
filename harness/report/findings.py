"""What the figures say, in sentences: the first thing that a reader of the page sees."""

from __future__ import annotations

from collections import Counter

from harness.report import text
from harness.report.summary import GAP_NMSES, OverallRow, ScenarioSummary, Summary


def findings(summary: Summary) -> list[str]:
    """One sentence for each thing worth knowing; fewer where figures are missing."""
    found = [_compression(summary), _wins(summary), _bound(summary), _speed(summary)]
    return [sentence for sentence in found if sentence]


def _compression(summary: Summary) -> str:
    percent = str(summary.ranking_percent)
    best = next((row for row in summary.overall if row.compression[percent].value is not None), None)
    if best is None:
        return ""
    sign = "at least " if best.at_least[percent] else ""
    count = len(summary.scenarios)
    where = "" if count == 1 else f" over {count} scenarios (geometric mean)"
    size = text.times(best.compression[percent])
    return f"{text.shown(best.codec)} compresses most: {sign}{size} at {percent} % of the score{where}."


def _wins(summary: Summary) -> str:
    if len(summary.scenarios) < 2:
        return ""
    wins = Counter(winner for part in summary.scenarios if (winner := _winner(part)) is not None)
    if not wins:
        return ""
    if len(wins) == 1:
        (name,) = wins
        return f"{text.shown(name)} has the lowest rate on every scenario."
    shares = ", ".join(f"{text.shown(name)} on {count}" for name, count in wins.most_common())
    return f"No codec wins everywhere: the lowest rate has {shares}."


def _winner(scenario: ScenarioSummary) -> str | None:
    """Codecs stand in the order of their rank."""
    first = next((codec for codec in scenario.codecs if codec.role == "codec"), None)
    if first is None or all(part.ebpfp.value is None for part in first.retained):
        return None
    return first.codec


def _bound(summary: Summary) -> str:
    rows = [row for row in summary.overall if row.bound_gap.value is not None and row.bound_scenarios]
    complete = [row for row in rows if row.bound_scenarios == max(r.bound_scenarios for r in rows)]
    if not complete:
        return ""
    best = min(complete, key=_gap)
    where = "below" if _gap(best) < 0 else "above"
    bits = text.number(abs(_gap(best)))
    return (
        f"Closest to the Gaussian bound is {text.shown(best.codec)}: {bits} bits a feature point {where} it at "
        f"NMSE {GAP_NMSES[0]:g}."
    )


def _gap(row: OverallRow) -> float:
    assert row.bound_gap.value is not None  # the caller has checked
    return row.bound_gap.value


def _speed(summary: Summary) -> str:
    rows = [row for row in summary.overall if row.decode_mb_per_s.value is not None]
    if not rows:
        return ""
    fastest = max(rows, key=lambda row: row.decode_mb_per_s.value or 0.0)
    return (
        f"{text.shown(fastest.codec)} decodes fastest: {text.estimate(fastest.decode_mb_per_s)} MB/s of raw features."
    )
