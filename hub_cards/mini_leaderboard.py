"""The leaderboard of the mini edition, from the results of ``make bench``.

``leaderboard.json`` holds what README's table shows: of each codec its means over all scenarios with their intervals,
and its EBPFP@95 on each. Everything is read from the report's ``summary.json`` and the results' ``run.json``. Rows of
codecs that the results lack stay, so that a codec that changes can be run again on its own, beside the reference.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.report.findings import findings
from harness.report.overall import ranked
from harness.report.summary import OverallRow, Summary
from harness.results import store
from lamofcbench.errors import LaMoFCBenchError

LEADERBOARD = Path(__file__).parent / "mini" / "leaderboard.json"
PERCENT = 95
SAME = ("lamofcbench", "reference", "confidence", "scenarios")
"""What rows must have in common to stand on one board."""

Board = dict[str, Any]


def leaderboard(results: Path, before: Board | None = None) -> Board:
    """The leaderboard as plain JSON values.

    Args:
        results: a folder of results with its report.
        before: a leaderboard whose other rows stay.

    Raises:
        LaMoFCBenchError: if there is no report, a result does not cover its whole test split, or the other rows are of
            other data.
    """
    report = results / "report" / "summary.json"
    if not report.is_file():
        raise LaMoFCBenchError(f"there is no {report}; `lamofcbench report --results {results}` writes it")
    summary = Summary.model_validate_json(report.read_text(encoding="utf-8"))
    parts = [scenario.scenario for scenario in summary.scenarios if scenario.samples != scenario.test_samples]
    if parts:
        raise LaMoFCBenchError(f"{results} has results on a part of the test split of {', '.join(parts)}")
    board = {
        "lamofcbench": summary.lamofcbench_version,
        "reference": summary.reference,
        "confidence": summary.confidence,
        "scenarios": {
            part.scenario: {"version": part.version, "data_revision": part.data_revision} for part in summary.scenarios
        },
        "retained": {row.codec: _retained(summary, row.codec) for row in summary.overall},
        "runs": _runs(results),
    }
    rows = summary.overall
    if before is not None:
        different = [name for name in SAME if before[name] != board[name]]
        if different:
            raise LaMoFCBenchError(
                f"the rows before were measured with other {', '.join(different)}; run all codecs, or remove them"
            )
        kept = [OverallRow.model_validate(row) for row in before["codecs"] if row["codec"] not in board["retained"]]
        rows = [*rows, *kept]
        for name in ("retained", "runs"):
            board[name] = before[name] | board[name]
    rows = ranked(rows, PERCENT)
    winners = [winner(board, scenario) for scenario in board["scenarios"]]
    return board | {
        "codecs": [row.model_dump() for row in rows],
        "findings": findings(rows, winners, PERCENT),
    }


def winner(board: Board, scenario: str) -> str | None:
    """The codec with the lowest rate on a scenario."""
    rates = {
        codec: found[scenario]["ebpfp"]["value"] for codec, found in board["retained"].items() if scenario in found
    }
    known = {codec: rate for codec, rate in rates.items() if rate is not None}
    return min(known, key=known.__getitem__, default=None)


def _retained(summary: Summary, name: str) -> dict[str, Any]:
    """A codec's EBPFP@95 on each scenario."""
    return {
        scenario.scenario: retained.model_dump(include={"ebpfp", "bound"})
        for scenario in summary.scenarios
        for codec in scenario.codecs
        for retained in codec.retained
        if codec.codec == name and retained.percent == PERCENT
    }


def _runs(results: Path) -> dict[str, Any]:
    """On which machine each codec ran, and how long: model loading and fitting are left out."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for folder in store.find_results(results):
        runs[folder.path.parent.name].append(json.loads((folder.path / "run.json").read_text()))
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
    """Writes the leaderboard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/bench"), help="of make bench")
    results = parser.parse_args().results
    before = json.loads(LEADERBOARD.read_text(encoding="utf-8")) if LEADERBOARD.is_file() else None
    try:
        store.write_json(LEADERBOARD, leaderboard(results, before))
    except LaMoFCBenchError as error:
        sys.exit(f"{LEADERBOARD}: {error}")


if __name__ == "__main__":
    main()
