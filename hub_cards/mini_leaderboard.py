"""The leaderboard of the mini edition, from the results of ``make bench``.

``leaderboard.json`` holds what README's table shows: of each codec its means over all scenarios with their intervals,
and its EBPFP@95 on each. Everything is read from the report's ``summary.json`` and the results' ``run.json``.
"""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import store
from harness.report.summary import Summary

LEADERBOARD = Path(__file__).parent / "mini" / "leaderboard.json"
PERCENT = 95


def leaderboard(results: Path) -> dict[str, Any]:
    """The leaderboard as plain JSON values.

    Args:
        results: a folder of results with its report.

    Raises:
        ValueError: if a result does not cover its whole test split.
    """
    summary = Summary.model_validate_json((results / "report" / "summary.json").read_text(encoding="utf-8"))
    parts = [scenario.scenario for scenario in summary.scenarios if scenario.samples != scenario.test_samples]
    if parts:
        raise ValueError(f"{results} has results on a part of the test split of {', '.join(parts)}")
    codecs = [row.model_dump() for row in summary.overall]
    for row in codecs:
        row["retained"] = {
            scenario.scenario: retained.model_dump(include={"ebpfp", "bound"})
            for scenario in summary.scenarios
            for codec in scenario.codecs
            for retained in codec.retained
            if codec.codec == row["codec"] and retained.percent == PERCENT
        }
    return {
        "lamofcbench": summary.lamofcbench_version,
        "reference": summary.reference,
        "confidence": summary.confidence,
        **cost(results),
        "findings": summary.findings,
        "codecs": codecs,
    }


def cost(results: Path) -> dict[str, Any]:
    """On which machine the results were made, and how long that took: model loading and fitting are left out."""
    runs = [json.loads((folder.path / "run.json").read_text()) for folder in store.find_results(results)]
    seconds = sum((_time(run["finished"]) - _time(run["started"])).total_seconds() for run in runs)
    return {
        "results": len(runs),
        "evaluation_hours": round(seconds / 3600, 2),
        "processes": sorted({run["processes"] for run in runs}),
        "processors": sorted({run["processor"] for run in runs}),
    }


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def main() -> None:
    """Writes the leaderboard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/bench"), help="of make bench")
    store.write_json(LEADERBOARD, leaderboard(parser.parse_args().results))


if __name__ == "__main__":
    main()
