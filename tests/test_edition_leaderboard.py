"""The leaderboard says what the results of a whole run say."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from harness.cli import main
from harness.results import store
from lamofcbench.errors import LaMoFCBenchError

SCRIPT = Path(__file__).parent.parent / "hub_cards" / "edition_leaderboard.py"


@pytest.fixture(scope="module")
def edition_leaderboard():
    spec = importlib.util.spec_from_file_location("edition_leaderboard", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results(folder, *options, codecs=("uniform", "kmeans")):
    assert main(["run", "--scenarios", "mini-cvu-digits-hard", "--codecs", *codecs, "--points", "3",
                 "--results", str(folder), *options]) == 0  # fmt: skip
    assert main(["report", "--results", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return results(tmp_path_factory.mktemp("whole"))


def test_it_holds_what_the_report_holds(edition_leaderboard, whole):
    found = edition_leaderboard.leaderboard(whole)
    summary = json.loads((whole / "report" / "summary.json").read_text())
    assert [row["codec"] for row in found["codecs"]] == [row["codec"] for row in summary["overall"]]
    for row, overall in zip(found["codecs"], summary["overall"], strict=True):
        assert row == overall
        [codec] = [c for c in summary["scenarios"][0]["codecs"] if c["codec"] == row["codec"]]
        at_95 = next(part for part in codec["retained"] if part["percent"] == 95)
        assert found["retained"][row["codec"]] == {
            "mini-cvu-digits-hard": {"ebpfp": at_95["ebpfp"], "bound": at_95["bound"]}
        }
    assert found["edition"] == "mini"
    *same, advice = summary["findings"]
    assert found["findings"] == same
    assert advice.startswith("Ladders to extend")  # which is for who ran them, not for readers of a board
    assert sum(run["results"] for run in found["runs"].values()) == len(store.find_results(whole)) == 8
    assert set(found["runs"]) == {"identity", "kmeans", "mean", "uniform"}
    assert all(run["hours"] < 0.1 and run["processes"] == [1] for run in found["runs"].values())


def test_rows_of_codecs_that_did_not_run_stay(edition_leaderboard, whole, tmp_path):
    before = edition_leaderboard.leaderboard(whole)
    folder = results(tmp_path, codecs=("uniform", "channel"))
    after = edition_leaderboard.leaderboard(folder, before)
    assert {row["codec"] for row in after["codecs"]} == {"uniform", "kmeans", "channel"}
    rates = [row["ebpfp"]["95"]["value"] for row in after["codecs"]]
    assert rates == sorted(rates)
    rows = [{row["codec"]: row for row in board["codecs"]} for board in (before, after)]
    assert rows[0]["kmeans"]["ebpfp"] == rows[1]["kmeans"]["ebpfp"]
    assert after["runs"]["kmeans"] == before["runs"]["kmeans"] and "channel" in after["runs"]
    assert after["findings"][0].startswith(f"{after['codecs'][0]['codec']} compresses most")


HARD = "mini-cvu-digits-hard"


def test_rows_of_earlier_data_are_marked_until_they_are_made_anew(edition_leaderboard, whole, tmp_path):
    now = edition_leaderboard.leaderboard(whole)
    assert now["earlier_data"] == {}
    earlier = {"version": 1, "data_revision": "0" * 64}
    before = json.loads(json.dumps(now))
    del before["earlier_data"]  # as boards were before there were such rows
    before["scenarios"][HARD] = earlier
    for row in before["codecs"]:
        if row["codec"] == "kmeans":
            row |= {"name": "other", "codec": "other"}
    for name in ("retained", "runs"):
        before[name]["other"] = before[name].pop("kmeans")
    before["retained"]["other"][HARD]["ebpfp"]["value"] = 1e-6
    after = edition_leaderboard.leaderboard(whole, before)
    assert {row["codec"] for row in after["codecs"]} == {"uniform", "kmeans", "other"}
    assert after["earlier_data"] == {"other": {HARD: earlier}} and after["scenarios"] == now["scenarios"]
    assert edition_leaderboard.winner(after, HARD) != "other"
    again = edition_leaderboard.leaderboard(whole, after)
    assert again["earlier_data"] == after["earlier_data"]
    current = json.loads(json.dumps(before).replace('"other"', '"kmeans"'))
    assert edition_leaderboard.leaderboard(whole, current)["earlier_data"] == {}


def test_nobody_wins_where_nobody_keeps_the_score(edition_leaderboard):
    rates = {"a": {"x": 32.0, "y": 32.0}, "b": {"x": 32.0, "y": 2.0}}
    board = {"retained": {name: {part: {"ebpfp": {"value": value}} for part, value in own.items()}
                          for name, own in rates.items()}}  # fmt: skip
    assert [edition_leaderboard.winner(board, part) for part in "xy"] == [None, "b"]


def test_rows_of_other_scenarios_do_not_stand_on_one_board(edition_leaderboard, whole):
    before = edition_leaderboard.leaderboard(whole)
    before["scenarios"]["mini-cvu-digits"] = before["scenarios"][HARD]
    with pytest.raises(LaMoFCBenchError, match="with other scenarios; run all codecs"):
        edition_leaderboard.leaderboard(whole, before)


def test_rows_of_another_protocol_do_not_stand_on_one_board(edition_leaderboard, whole):
    before = edition_leaderboard.leaderboard(whole)
    del before["protocol"]  # as boards were before there was another
    with pytest.raises(LaMoFCBenchError, match="with other protocol; run all codecs"):
        edition_leaderboard.leaderboard(whole, before)


def test_a_row_is_replaced_by_newer_code_alone_and_named(edition_leaderboard, whole):
    now = edition_leaderboard.leaderboard(whole)
    before = json.loads(json.dumps(now).replace("lamofcbench:uniform@2", "lamofcbench:uniform@1"))
    assert edition_leaderboard.leaderboard(whole, before) == now
    [line] = edition_leaderboard.replaced_rows(before, now)
    assert "uniform: the row of lamofcbench:uniform@1 gave way to one of lamofcbench:uniform@2" in line
    assert edition_leaderboard.replaced_rows(now, now) == []


def test_codecs_of_one_name_from_different_places_have_rows_of_their_own(edition_leaderboard, whole):
    now = edition_leaderboard.leaderboard(whole)
    before = json.loads(json.dumps(now))
    [mine] = [row for row in before["codecs"] if row["codec"] == "kmeans"]
    mine |= {"codec": "uniform", "name": "uniform", "identity": "file:mine.py:UniformCodec#00000000000000aa"}
    before["codecs"] = [mine]
    for name in ("retained", "runs"):
        before[name]["uniform"] = before[name].pop("kmeans")
    after = edition_leaderboard.leaderboard(whole, before)
    assert {row["codec"] for row in after["codecs"]} == {"uniform", "kmeans", "uniform (mine.py)"}
    for name in ("retained", "runs"):
        assert after[name]["uniform (mine.py)"] == now[name]["kmeans"]
        assert after[name]["uniform"] == now[name]["uniform"]


def test_results_on_a_part_of_the_split_are_refused(edition_leaderboard, tmp_path):
    with pytest.raises(LaMoFCBenchError, match="a part of the test split of mini-cvu-digits-hard"):
        edition_leaderboard.leaderboard(results(tmp_path, "--limit", "8"))


@pytest.mark.parametrize("how", ["gone", "newer"])
def test_a_report_of_other_results_than_stand_there_is_refused(edition_leaderboard, whole, tmp_path, how):
    folder = tmp_path / "changed"
    shutil.copytree(whole, folder)
    edition_leaderboard.leaderboard(folder)
    result = sorted(folder.glob("*@*/uniform/*/result.json"))[0]
    if how == "gone":
        shutil.rmtree(result.parent)
    else:
        result.touch()
    with pytest.raises(LaMoFCBenchError, match="has changed since its report"):
        edition_leaderboard.leaderboard(folder)


def test_results_of_several_editions_are_kept_apart(edition_leaderboard, whole, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(whole, folder)
    path = folder / "report" / "summary.json"
    summary = json.loads(path.read_text())
    summary["scenarios"].append(summary["scenarios"][0] | {"edition": "small"})
    path.write_text(json.dumps(summary))
    with pytest.raises(LaMoFCBenchError, match="of the editions mini and small; keep them apart"):
        edition_leaderboard.leaderboard(folder)


def test_results_without_a_report_are_told_how_to_get_one(edition_leaderboard, tmp_path):
    with pytest.raises(LaMoFCBenchError, match="lamofcbench report --results"):
        edition_leaderboard.leaderboard(tmp_path)
