"""One compact table an edition, narrow enough for 80 columns: rates, speeds and what each codec has learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report import text
from harness.report.editions import by_edition, tracks
from harness.report.render.cells import Cell, Column, Table
from harness.report.summary import CodecSummary, Estimate, OverallRow, ScenarioSummary, Summary
from harness.statistics.curves import UNCODED_EBPFP

MAX_NAME = 24
_COLUMNS = ("codec", "trained on", "", "smaller", "encode MB/s", "decode MB/s")


def brief_tables(summary: Summary) -> list[Table]:
    """A table an edition: of its one scenario, or of the means over several."""
    parts = by_edition(summary)
    return [_table(edition if len(parts) > 1 else "", part) for edition, part in parts.items()]


def _table(edition: str, summary: Summary) -> Table:
    counted = tracks(summary.scenarios)
    percent = min(scenario.ranking_percent for scenario in counted)
    rows = list(_of_one(counted[0], percent) if len(counted) == 1 else _of_several(summary, percent))
    where = f"{len(counted)} scenarios of {_samples(counted)}, geometric means"
    if len(counted) == 1:
        where = f"{text.shown(counted[0].scenario)}, {text.samples(counted[0].samples, counted[0].test_samples)}"
    columns = [Column(name or f"EBPFP@{percent}", numeric=number > 1) for number, name in enumerate(_COLUMNS)]
    notes = [
        f"EBPFP@{percent}: bits a feature point, where 32 is uncoded, at which {percent} % of the score is kept"
        f"{text.level_reason(percent)}, read between measured points; lower is better. Bold: the first."
    ]
    if any(cell[2].text == text.NOTHING for cell in rows):
        notes.append("A dash: no figure for every scenario.")
    return Table(f"{edition} edition, {where}".removeprefix(" edition, "), columns, rows, notes)


def _samples(scenarios: Sequence[ScenarioSummary]) -> str:
    fewest, most = (extreme(scenario.samples for scenario in scenarios) for extreme in (min, max))
    return text.count(most, "sample") if fewest == most else f"{fewest} to {text.count(most, 'sample')}"


def _of_one(scenario: ScenarioSummary, percent: int) -> Iterator[list[Cell]]:
    for codec in scenario.codecs:
        if codec.role == "codec":
            rate = codec.retained_at(percent)
            shown = text.reached_rate(rate).partition(" [")[0]
            yield _row(codec, shown, rate.ebpfp.value, rate.compression, at_least=shown.startswith("≤"))


def _of_several(summary: Summary, percent: int) -> Iterator[list[Cell]]:
    key = str(percent)
    for row in summary.overall:
        at_least = row.at_least[key] and row.ebpfp[key].value is not None
        shown = ("≤ " if at_least else "") + text.number(row.ebpfp[key].value)
        yield _row(row, shown, row.ebpfp[key].value, row.compression[key].value, at_least=at_least)


def _row(
    row: CodecSummary | OverallRow, rate: str, value: float | None, compression: float | None, *, at_least: bool
) -> list[Cell]:
    first = row.rank == 1 and value is not None and value < UNCODED_EBPFP
    sign = "≥ " if at_least else ""
    smaller = text.NOTHING if compression is None else f"{sign}{text.number(compression)} {text.TIMES}"
    return [
        Cell(text.shown(row.codec, MAX_NAME), row.codec, first),
        Cell(row.trained_on or text.NOTHING),
        Cell(rate, value, first),
        Cell(smaller, compression),
        _speed(row.encode_mb_per_s),
        _speed(row.decode_mb_per_s),
    ]


def _speed(estimate: Estimate) -> Cell:
    return Cell(text.number(estimate.value), estimate.value)
