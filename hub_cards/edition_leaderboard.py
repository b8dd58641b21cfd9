"""The leaderboard of an edition, from results on its whole test splits such as those of ``make bench``.

``<edition>/leaderboard.json`` holds what the table of docs/mini-leaderboard.md shows: of each codec its means over the
edition's scenarios with their intervals, and its EBPFP@95 on each. Everything is read from the report's
``summary.json`` and the results' ``run.json``. Rows of codecs that the results lack stay, so that a codec that changes
can be run again on its own, beside the reference. Where scenarios have changed since, ``earlier_data`` says which rows
are still of their earlier versions or data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.report.editions import tracks
from harness.report.findings import findings
from harness.report.kind_findings import Rates, kind_findings
from harness.report.origins import Origin, labels_of
from harness.report.overall import ranked
from harness.report.summary import FaithfulRate, OverallRow, RetainedRate, Summary
from harness.results import store
from harness.results.result import ANCHOR, FLOOR
from harness.statistics.curves import UNCODED_EBPFP, ReachedRate
from lamofcbench.atomic import write_json
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.identity import family_of
from lamofcbench.locks import LOCKS_DIRECTORY, locked

LEADERBOARD_FILE = "leaderboard.json"
SUMMARY_FILE = "report/summary.json"
PERCENT = 95
SAME = ("lamofcbench", "protocol", "reference", "confidence")
"""What rows must have in common to stand on one board, beside the names of the scenarios."""

Board = dict[str, Any]


def leaderboard(results: Path, before: Board | None = None) -> Board:
    """The leaderboard as plain JSON values.

    Args:
        results: a folder of results with its report.
        before: a leaderboard whose other rows stay.

    Rows of one codec's older code go with the newer; a codec of the same name from another place gets a row, and a
    label, of its own. Other rows may be of earlier data of some scenarios; they are marked in ``earlier_data``, and win
    none of these.

    Raises:
        LaMoFCBenchError: if there is no report, a result does not cover its whole test split or is of another protocol,
            or the other rows are of other scenarios.
    """
    summary = whole_summary_of(results)
    foreign = [scenario.scenario for scenario in summary.scenarios if not scenario.current]
    if foreign:
        raise LaMoFCBenchError(f"{results} has results of another protocol of {', '.join(foreign)}; run them again")
    board: Board = {
        "edition": edition_of(results),
        "lamofcbench": summary.lamofcbench_version,
        "protocol": summary.scenarios[0].protocol_version,
        "reference": summary.reference,
        "confidence": summary.confidence,
        "scenarios": {
            part.scenario: {"version": part.version, "data_revision": part.data_revision}
            for part in tracks(summary.scenarios)
        },
        "retained": {row.codec: _retained(summary, row.codec) for row in summary.overall},
        "runs": _runs(results, summary),
        "earlier_data": {},
    }
    rows = summary.overall
    if before is not None:
        board, rows = _beside(before, board, rows)
    rows = ranked(rows, PERCENT)
    winners = [winner(board, scenario) for scenario in board["scenarios"]]
    return board | {
        "codecs": [row.model_dump() for row in rows],
        "findings": [
            *findings(rows, winners, PERCENT),
            *kind_findings(tracks(summary.scenarios), _rates(board), PERCENT),
        ],
    }


def _beside(before: Board, board: Board, rows: Sequence[OverallRow]) -> tuple[Board, list[OverallRow]]:
    """A board with the rows of one before that stay, and all rows, each with its label.

    Raises:
        LaMoFCBenchError: if the two are not of the same scenarios, protocol or reference.
    """
    different = [name for name in SAME if before.get(name) != board[name]]
    if before.get("scenarios", {}).keys() != board["scenarios"].keys():
        different.append("scenarios")
    if different:
        raise LaMoFCBenchError(
            f"the rows before were measured with other {', '.join(different)}; run all codecs, or remove them"
        )
    new = {_origin(row) for row in rows}
    kept = [row for row in map(OverallRow.model_validate, before["codecs"]) if _origin(row) not in new]
    labels = labels_of([*new, *map(_origin, kept)])
    joined = {
        name: _parts(before[name], kept, labels) | _parts(board[name], rows, labels) for name in ("retained", "runs")
    }
    joined["earlier_data"] = _earlier_data(before, board["scenarios"], kept, labels)
    return board | joined, [row.model_copy(update={"codec": labels[_origin(row)]}) for row in (*rows, *kept)]


def _rates(board: Board) -> Rates:
    """EBPFP@95 of each codec on the scenarios of whose present data it has one."""
    return {
        codec: {
            name: ReachedRate(part["ebpfp"]["value"], part["bound"])
            for name, part in found.items()
            if part["ebpfp"]["value"] is not None and name not in board["earlier_data"].get(codec, {})
        }
        for codec, found in board["retained"].items()
        if codec not in (ANCHOR, FLOOR)
    }


def edition_of(results: Path) -> str:
    """The edition whose scenarios a folder has results of.

    Raises:
        LaMoFCBenchError: if there is no report, or there are scenarios of several.
    """
    editions = sorted({scenario.edition for scenario in summary_of(results).scenarios})
    if len(editions) > 1:
        raise LaMoFCBenchError(f"{results} has results of the editions {' and '.join(editions)}; keep them apart")
    return editions[0]


def summary_of(results: Path) -> Summary:
    """What a folder's report says.

    Raises:
        LaMoFCBenchError: if there is none.
    """
    report = results / SUMMARY_FILE
    if not report.is_file():
        raise LaMoFCBenchError(f"there is no {report}; `lamofcbench report --results {results}` writes it")
    return Summary.model_validate_json(report.read_text(encoding="utf-8"))


def whole_summary_of(results: Path) -> Summary:
    """What a folder's report says, all of it of whole test splits.

    Raises:
        LaMoFCBenchError: if there is none, it is not of the results that stand there, or it has results on a part of a
            test split.
    """
    summary = summary_of(results)
    told = {point.folder for part in summary.scenarios for codec in part.codecs for point in codec.points}
    made = (results / SUMMARY_FILE).stat().st_mtime
    if any(not (results / folder / store.RESULT_FILE).is_file() for folder in told) or any(
        (found.path / store.RESULT_FILE).stat().st_mtime > made for found in store.find_results(results)
    ):
        again = f"`lamofcbench report --results {results}` makes it anew"
        raise LaMoFCBenchError(f"{results} has changed since its report; {again}")
    parts = [part.scenario for part in summary.scenarios if part.samples != part.test_samples]
    if parts:
        raise LaMoFCBenchError(f"{results} has results on a part of the test split of {', '.join(parts)}")
    return summary


def replaced_rows(before: Board, board: Board) -> list[str]:
    """A line for each row of the board before that gave way to newer code of the same codec."""
    now = {_origin(row): row for row in map(OverallRow.model_validate, board["codecs"])}
    lines = []
    for row in map(OverallRow.model_validate, before["codecs"]):
        new = now[_origin(row)]
        if new.identity != row.identity:
            lines.append(f"{new.codec}: the row of {row.identity} gave way to one of {new.identity}")
    return lines


def _origin(row: OverallRow) -> Origin:
    return row.name, family_of(row.identity)


def _parts(found: Mapping[str, Any], rows: Iterable[OverallRow], labels: Mapping[Origin, str]) -> dict[str, Any]:
    """What is known of some rows, and of anchor and floor, under the labels that they get."""
    names = {ANCHOR: ANCHOR, FLOOR: FLOOR} | {row.codec: labels[_origin(row)] for row in rows}
    return {names[label]: part for label, part in found.items() if label in names}


def _earlier_data(
    before: Board, scenarios: Mapping[str, Any], rows: Iterable[OverallRow], labels: Mapping[Origin, str]
) -> dict[str, Any]:
    """By label, the scenarios of which a row that stayed has other data than the board, and what data these were.

    Args:
        before: the board that the rows are from.
        scenarios: the version and data revision of each scenario on the new board.
        rows: those that stay.
        labels: which they get.
    """
    found = {}
    for row in rows:
        own = before["scenarios"] | before.get("earlier_data", {}).get(row.codec, {})
        changed = {name: data for name, data in own.items() if data != scenarios[name]}
        if changed:
            found[labels[_origin(row)]] = changed
    return found


def winner(board: Board, scenario: str) -> str | None:
    """The codec with the lowest rate on a scenario, among those that ran on its present data; None if none keeps it."""
    earlier = board.get("earlier_data", {})
    rates = {
        codec: found[scenario]["ebpfp"]["value"]
        for codec, found in board["retained"].items()
        if scenario in found and scenario not in earlier.get(codec, {})
    }
    known = {codec: rate for codec, rate in rates.items() if rate is not None and rate < UNCODED_EBPFP}
    return min(known, key=known.__getitem__, default=None)


def _retained(summary: Summary, name: str) -> dict[str, Any]:
    """A codec's EBPFP@95 on each scenario."""
    return {
        scenario.scenario: bounded(codec.retained_at(PERCENT))
        for scenario in tracks(summary.scenarios)
        for codec in scenario.codecs
        if codec.codec == name
    }


def bounded(reached: RetainedRate | FaithfulRate) -> dict[str, Any]:
    """A rate with its interval and what bounds it, as plain JSON values."""
    return reached.model_dump(mode="json", include={"ebpfp", "bound"})


def _runs(results: Path, summary: Summary) -> dict[str, Any]:
    """On which machine each codec ran, and how long: model loading and fitting are left out."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for scenario in summary.scenarios:
        for codec in scenario.codecs:
            for point in codec.points:
                runs[codec.codec].append(json.loads((results / point.folder / store.RUN_FILE).read_text()))
    return {
        codec: {
            "results": len(own),
            "hours": round(sum(map(_hours, own)), 3),
            "processes": sorted({run["processes"] for run in own}),
            "processors": sorted({run["processor"] for run in own}),
        }
        for codec, own in sorted(runs.items())
    }


def _hours(run: dict[str, Any]) -> float:
    finished, started = (datetime.fromisoformat(run[name]) for name in ("finished", "started"))
    return (finished - started).total_seconds() / 3600


def main() -> None:
    """Writes the leaderboard of the results' edition."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/bench"), help="of make bench")
    results = parser.parse_args().results
    try:
        path = Path(__file__).parent / edition_of(results) / LEADERBOARD_FILE
        with locked(path.parent / LOCKS_DIRECTORY / "leaderboard.lock", f"writing {path}"):
            before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
            board = leaderboard(results, before)
            write_json(path, board)
    except LaMoFCBenchError as error:
        sys.exit(f"{LEADERBOARD_FILE}: {error}")
    for line in replaced_rows(before, board) if before is not None else ():
        print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
