"""The leaderboard says what the results of a whole run say."""

import importlib.util
import json
from pathlib import Path

import pytest

from harness import store
from harness.cli import main

SCRIPT = Path(__file__).parent.parent / "hub_cards" / "mini_leaderboard.py"


@pytest.fixture(scope="module")
def mini_leaderboard():
    spec = importlib.util.spec_from_file_location("mini_leaderboard", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results(folder, *options):
    assert main(["run", "--scenarios", "mini-cvu-digits-hard", "--codecs", "uniform", "kmeans", "--points", "3",
                 "--results", str(folder), *options]) == 0  # fmt: skip
    assert main(["report", "--results", str(folder)]) == 0
    return folder


def test_it_holds_what_the_report_holds(mini_leaderboard, tmp_path):
    folder = results(tmp_path)
    found = mini_leaderboard.leaderboard(folder)
    summary = json.loads((folder / "report" / "summary.json").read_text())
    assert [row["codec"] for row in found["codecs"]] == [row["codec"] for row in summary["overall"]]
    for row, overall in zip(found["codecs"], summary["overall"], strict=True):
        assert row["compression"] == overall["compression"]
        [codec] = [c for c in summary["scenarios"][0]["codecs"] if c["codec"] == row["codec"]]
        at_95 = next(part for part in codec["retained"] if part["percent"] == 95)
        assert row["retained"] == {"mini-cvu-digits-hard": {"ebpfp": at_95["ebpfp"], "bound": at_95["bound"]}}
    assert found["results"] == len(store.find_results(folder)) == 8
    assert found["evaluation_hours"] < 0.1 and found["processes"] == [1]


def test_results_on_a_part_of_the_split_are_refused(mini_leaderboard, tmp_path):
    with pytest.raises(ValueError, match="a part of the test split of mini-cvu-digits-hard"):
        mini_leaderboard.leaderboard(results(tmp_path, "--limit", "8"))
