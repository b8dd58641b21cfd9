"""Fitted on one scenario, run on another: what is recorded, what is refused, what the report makes of it."""

import json

import pytest
import torch

from harness.cli import main
from harness.report.compile import compile_summary
from harness.running.transfer import require_same_backbone
from lamofcbench.codecs.registry import CODECS, load_saved
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.calibration import Calibration

DIGITS, HARD = "mini-cvu-digits", "mini-cvu-digits-hard"
RUN = ["--codecs", "channel:step=2", "uniform:step=1", "--limit", "8", "--quiet"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Hard digits, coded by codecs fitted on them and by codecs fitted on all digits."""
    folder = tmp_path_factory.mktemp("transfer") / "results"
    for fit_on in ([], ["--fit-on", DIGITS]):
        assert main(["run", "--scenarios", HARD, *fit_on, *RUN, "--results", str(folder)]) == 0
    return folder


def _folder(results, fitted_on):
    found = [
        path.parent
        for path in results.glob(f"{HARD}@*/channel/*/result.json")
        if json.loads(path.read_text())["codec"]["fitted_on"] == fitted_on
    ]
    (folder,) = found
    return folder


def test_the_codec_knows_the_other_scenarios_calibration_samples_and_codes_its_own_tensors(results):
    codec = load_saved(_folder(results, DIGITS) / "codec")
    source = SCENARIOS.get(DIGITS)
    expected = CODECS.get("channel")(source.specs, {"step": 2.0}).fit(Calibration(source))
    assert codec.specs == SCENARIOS.get(HARD).specs
    assert codec.state.keys() == expected.state.keys()
    assert all(torch.equal(codec.state[name], expected.state[name]) for name in expected.state)


def test_results_say_so_and_stand_apart(results):
    home, away = _folder(results, None), _folder(results, DIGITS)
    assert home != away
    assert json.loads((away / "codec" / "fit.json").read_text())["scenario"].startswith(f"{DIGITS}@")


def test_anchor_and_floor_stay_those_of_the_scenario_itself(results):
    for role in ("identity", "mean"):
        assert len(list(results.glob(f"{HARD}@*/{role}/*/result.json"))) == 1


def test_the_report_keeps_them_out_of_curves_and_tells_them_in_a_matrix(results):
    summary = compile_summary(results, resamples=0, bound=False)
    (scenario,) = summary.scenarios
    assert [len(codec.points) for codec in scenario.codecs] == [1, 1, 1, 1]
    found = {(transfer.codec, transfer.fitted_on, transfer.coded) for transfer in summary.transfers}
    assert found == {(codec, source, HARD) for codec in ("channel", "uniform") for source in (DIGITS, HARD)}


def test_the_same_command_again_computes_nothing(results, capsys):
    before = {path: path.stat().st_mtime_ns for path in results.glob("*/*/*/result.json")}
    assert main(["run", "--scenarios", HARD, "--fit-on", DIGITS, *RUN, "--results", str(results)]) == 0
    assert {path: path.stat().st_mtime_ns for path in results.glob("*/*/*/result.json")} == before


def test_scenarios_of_one_backbone_serve_each_other():
    tasks = ["mini-clu-facts", "mini-clu-scripts", "mini-clu-pronouns", "mini-clu-claims"]
    for source in tasks:
        for coded in tasks:
            require_same_backbone(SCENARIOS.get(source), SCENARIOS.get(coded))


@pytest.mark.parametrize(
    ("source", "coded", "told"),
    [
        ("mini-clu-arithmetic", "mini-clu-facts", "other weights"),
        ("mini-clu-facts-mamba", "mini-clu-facts", "tensors differ"),
        ("mini-cvu-digits-shallow", DIGITS, "tensors differ"),
    ],
)
def test_between_backbones_it_is_refused(source, coded, told):
    with pytest.raises(LaMoFCBenchError, match=told):
        require_same_backbone(SCENARIOS.get(source), SCENARIOS.get(coded))


def test_the_command_refuses_it_in_one_line_before_anything_runs(tmp_path, capsys):
    arguments = ["run", "--scenarios", DIGITS, "--fit-on", "mini-cvu-depth", *RUN, "--results", str(tmp_path)]
    assert main(arguments) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
