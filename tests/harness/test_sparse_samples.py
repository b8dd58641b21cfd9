"""Samples without a single token go through every command; what is undefined is null, never 0 and never NaN."""

import importlib.util
import json
import warnings
from pathlib import Path

import pytest
from safetensors.torch import load_file

import harness
from harness import cli
from harness.results.store import find_results

LEADERBOARD = Path(__file__).parents[2] / "hub_cards" / "edition_leaderboard.py"


def _strict(text: str):
    """JSON that any reader takes: without the words NaN and Infinity, which Python's own would accept."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))


@pytest.fixture(scope="module")
def sparse(repository) -> str:
    return f"{repository / 'tests' / 'data' / 'sparse_scenario.py'}:SPARSE"


@pytest.fixture(scope="module")
def folder(sparse, tmp_path_factory) -> Path:
    """Data under ``data``; results of all samples in ``whole``, of the first two, which have no tokens, in ``part``."""
    root = tmp_path_factory.mktemp("sparse")
    assert cli.main(["build", sparse, "--output", str(root / "data"), "--quiet"]) == 0
    common = ["run", "--scenarios", sparse, "--data", str(root / "data"), "--codecs", "uniform", "zstd", "--paths"]
    assert cli.main([*common, "--results", str(root / "whole"), "--points", "4"]) == 0
    assert cli.main([*common, "--results", str(root / "part"), "--points", "2", "--limit", "2"]) == 0
    return root


@pytest.fixture(scope="module")
def summaries(sparse, folder) -> dict[str, dict]:
    found = {}
    for name in ("whole", "part"):
        arguments = ["--results", str(folder / name), "--data", str(folder / "data"), "--scenarios", sparse]
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # numpy's, of a division by nothing
            assert cli.main(["report", *arguments, "--bootstrap", "200"]) == 0
        found[name] = _strict((folder / name / "report" / "summary.json").read_text())
    return found


def _codec(summary: dict, name: str) -> dict:
    [scenario] = summary["scenarios"]
    return next(codec for codec in scenario["codecs"] if codec["codec"] == name)


def test_rates_count_the_bytes_of_empty_samples_and_speeds_leave_them_out(summaries):
    anchor = _codec(summaries["whole"], "identity")["points"][0]
    # Of five samples in a row three have 1, 2 and 3 values of 32 bits, and two have none.
    assert anchor["ebpfp"] == pytest.approx(32 * 8 * anchor["coded_bytes"] / (4 * 6 * 32))
    assert anchor["decode_mb_per_s"] > 0
    assert summaries["whole"]["warnings"] == []


def test_a_tensor_that_is_empty_everywhere_has_no_error_and_hides_no_other(summaries):
    hidden, marks = _codec(summaries["whole"], "uniform")["points"][0]["tensors"]
    assert (marks["elements"], marks["mse"], marks["nmse"], marks["payload_bpfp"]) == (0, None, None, None)
    assert hidden["error_share"] == hidden["nmse_share"] == 1.0
    point = _codec(summaries["whole"], "uniform")["points"][0]
    assert point["nmse"] == pytest.approx(hidden["nmse"])
    assert point["gap_nmse"] is not None or point["nmse"] >= 1
    assert summaries["whole"]["scenarios"][0]["bound"]["nmse"]
    assert _codec(summaries["whole"], "uniform")["bd_rate_mse"]["percent"] == pytest.approx(0)


def test_results_of_nothing_but_empty_samples_have_scores_and_no_rates(summaries):
    [scenario] = summaries["part"]["scenarios"]
    assert scenario["raw_bytes_per_sample"] == 0
    assert "no sample has a feature point" in scenario["bound_reason"]
    assert [answer["codec"] for answer in scenario["links"]] == [None] * 3
    for codec in scenario["codecs"]:
        for point in codec["points"]:
            assert point["bytes_per_sample"] > 0 and point["score"]["value"] == 1.0
            undefined = ("bpfp", "ebpfp", "mse", "nmse", "encode_mb_per_s", "decode_mb_per_s", "on_front")
            assert [point[name] for name in undefined] == [None] * len(undefined)
        assert [part["ebpfp"]["value"] for part in codec["retained"]] == [None, None]


@pytest.mark.parametrize("name", ["whole", "part"])
def test_scores_and_bitstreams_check(name, sparse, folder, capsys):
    arguments = ["--results", str(folder / name), "--data", str(folder / "data"), "--scenarios", sparse]
    assert cli.main(["score", *arguments, "--decode"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(find_results(folder / name))


@pytest.mark.parametrize("pair", [("whole", "part"), ("part", "part")])
def test_runs_are_compared(pair, sparse, folder, capsys):
    runs = [str(folder / name) for name in pair]
    assert cli.main(["compare", *runs, "--scenarios", sparse, "--json", "--bootstrap", "100"]) == 0
    found = _strict(capsys.readouterr().out)
    assert {change["measure"] for pair in found["pairs"] for change in pair["changes"]} == {"score"}
    assert cli.main(["compare", *runs, "--scenarios", sparse, "--all", "--bootstrap", "100"]) == 0


def test_statistics_name_every_tensor(sparse, folder, capsys):
    assert cli.main(["stats", sparse, "--data", str(folder / "data"), "--json"]) == 0
    [(hidden, marks)] = _strict(capsys.readouterr().out).values()
    assert (hidden["elements"], marks["elements"]) == (12, 0)
    assert (marks["all"]["channels"], marks["all"]["median"], marks["without_largest"]) == (0, None, None)
    assert cli.main(["stats", sparse, "--data", str(folder / "data"), "--limit", "2"]) == 0


@pytest.mark.parametrize(("index", "tokens"), [(0, 0), (2, 1)])
def test_a_sample_of_no_tokens_and_one_of_a_single_value_are_coded(index, tokens, sparse, folder, tmp_path):
    coded, features = tmp_path / "coded", tmp_path / "features.safetensors"
    where = ["--data", str(folder / "data"), "--index", str(index), "--output", str(coded)]
    assert cli.main(["encode", sparse, "--codec", "uniform:step=1", *where]) == 0
    assert cli.main(["decode", str(coded), "--output", str(features)]) == 0
    assert {name: list(tensor.shape) for name, tensor in load_file(features).items()} == {
        "hidden": [tokens, 1],
        "marks": [0, 3],
    }


def test_a_curve_of_empty_samples_is_in_the_order_of_its_bytes(sparse, folder):
    curve = harness.evaluate(
        ["uniform:step=1", "zstd"], sparse, data=folder / "data", results=folder / "curve", limit=2, progress=False
    )
    assert [point.rate.ebpfp for point in curve] == [None, None]
    assert curve[0].rate.coded_bytes <= curve[1].rate.coded_bytes


def test_the_leaderboard_takes_them(summaries, folder):
    spec = importlib.util.spec_from_file_location("edition_leaderboard", LEADERBOARD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    board = module.leaderboard(folder / "whole")
    assert [row["codec"] for row in board["codecs"]] == [row["codec"] for row in summaries["whole"]["overall"]]
    _strict(json.dumps(board))
