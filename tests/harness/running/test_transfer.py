"""Fitted on one scenario, run on another: what is recorded, what is refused, what the report makes of it."""

import json
from dataclasses import dataclass

import pytest
import torch

from harness.cli import main
from harness.report import text
from harness.report.compare import compare_runs
from harness.report.compile import compile_summary
from harness.report.render.overall_tables import transfer_tables
from harness.report.summary import Estimate, RetainedRate
from harness.running.transfer import fit_elsewhere, require_same_backbone, widest
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.codecs.registry import CODECS, load_saved
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.scenarios.base import SCENARIOS, Axis
from lamofcbench.storage.calibration import Calibration
from lamofcbench.storage.mixed_calibration import MixedCalibration

DIGITS, HARD, RENDITIONS = "mini-cvu-digits", "mini-cvu-digits-hard", "mini-cvu-digits-renditions"
BOTH = f"{DIGITS}+{RENDITIONS}"
RUN = ["--codecs", "channel:step=2", "uniform:step=1", "--limit", "8", "--quiet"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Hard digits, coded by codecs fitted on them, on all digits, and on these and renditions of them together."""
    folder = tmp_path_factory.mktemp("transfer") / "results"
    for fit_on in ([], ["--fit-on", DIGITS], ["--fit-on", DIGITS, RENDITIONS]):
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


def test_what_was_learned_for_results_at_home_is_not_learned_again(tmp_path, monkeypatch):
    """Fitting fails once they are there, so that it can only have been taken from them."""
    run = ["run", "--codecs", "channel:step=2", "--limit", "8", "--quiet", "--results", str(tmp_path)]
    assert main([*run, "--scenarios", DIGITS]) == 0
    (home,) = tmp_path.glob(f"{DIGITS}@*/channel/*/codec")
    monkeypatch.setattr(CODECS.get("channel"), "learn", None)
    assert main([*run, "--scenarios", HARD, "--fit-on", DIGITS]) == 0
    away = load_saved(_folder(tmp_path, DIGITS) / "codec")
    assert all(torch.equal(away.state[name], tensor) for name, tensor in load_saved(home).state.items())
    assert main([*run, "--scenarios", HARD, "--fit-on", DIGITS, "--overwrite", "always"]) == 1


def test_of_several_scenarios_it_knows_all_calibration_samples(results):
    codec = load_saved(_folder(results, BOTH) / "codec")
    sources = [SCENARIOS.get(name) for name in (DIGITS, RENDITIONS)]
    expected = CODECS.get("channel")(sources[0].specs, {"step": 2.0}).fit(
        MixedCalibration([Calibration(source) for source in sources])
    )
    alone = load_saved(_folder(results, DIGITS) / "codec")
    assert all(torch.equal(codec.state[name], expected.state[name]) for name in expected.state)
    assert any(not torch.equal(codec.state[name], alone.state[name]) for name in alone.state)


def test_a_scenario_may_be_among_those_that_its_codec_is_fitted_on(tmp_path):
    run = ["run", "--codecs", "channel:step=2", "--limit", "8", "--quiet", "--results", str(tmp_path)]
    assert main([*run, "--scenarios", HARD, "--fit-on", f"{RENDITIONS},{HARD}"]) == 0
    assert _folder(tmp_path, f"{HARD}+{RENDITIONS}")
    assert main([*run, "--scenarios", HARD, "--fit-on", HARD]) == 0  # which is to fit at home
    assert _folder(tmp_path, None)


def test_tensors_of_several_are_as_long_as_the_longest():
    facts = SCENARIOS.get("mini-clu-facts")
    (axis,) = {axis for spec in facts.tensors for axis in spec.shape if isinstance(axis, Axis)}
    longer = [
        spec.model_copy(
            update={"shape": tuple(Axis(name=n.name, limit=n.limit + 7) if n == axis else n for n in spec.shape)}
        )
        for spec in facts.tensors
    ]
    found = widest([facts, facts.model_copy(update={"id": "longer", "tensors": tuple(longer)})])
    assert found.tensors == tuple(longer)
    assert widest([facts]) == facts.specs


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
    assert found == {(codec, source, HARD) for codec in ("channel", "uniform") for source in (DIGITS, HARD, BOTH)}


def test_the_same_command_again_computes_nothing(results, capsys):
    before = {path: path.stat().st_mtime_ns for path in results.glob("*/*/*/result.json")}
    for fit_on in ([DIGITS], [f"{RENDITIONS},{DIGITS}"], [RENDITIONS, DIGITS, RENDITIONS]):  # in any order
        assert main(["run", "--scenarios", HARD, "--fit-on", *fit_on, *RUN, "--results", str(results)]) == 0
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
        (
            "mini-clu-facts-mamba",
            "mini-clu-facts",
            "tensors differ, ssm_state.0, .* only there and key.0, .* only here",
        ),
        ("mini-cvu-digits-shallow", DIGITS, "tensors differ, block.1 only there and block.7 only here"),
    ],
)
def test_between_backbones_it_is_refused(source, coded, told):
    with pytest.raises(LaMoFCBenchError, match=told):
        require_same_backbone(SCENARIOS.get(source), SCENARIOS.get(coded))


@pytest.mark.parametrize(
    ("source", "coded", "told"),
    [
        (DIGITS, "mini-clu-facts", "of its backbone are mini-clu-claims, mini-clu-pronouns, mini-clu-scripts$"),
        (DIGITS, "mini-clu-arithmetic", "no other scenario has its backbone"),
    ],
)
def test_the_refusal_lists_what_can_be_named_instead(source, coded, told):
    with pytest.raises(LaMoFCBenchError, match=told):
        require_same_backbone(SCENARIOS.get(source), SCENARIOS.get(coded))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dtype": "float16"}, "dtype of key.0: float16 there, bfloat16 here"),
        ({"rotary_base": 5e5}, "rotary_base of key.0: 500000.0 there, 10000.0 here"),
        ({"shape": (4, 32)}, r"shape of key.0: \[4, 32\] there, \[2, tokens, 32\] here"),
    ],
)
def test_it_says_what_differs(change, told):
    coded = SCENARIOS.get("mini-clu-facts")
    first, *others = coded.tensors
    source = coded.model_copy(update={"id": "other", "tensors": (first.model_copy(update=change), *others)})
    with pytest.raises(LaMoFCBenchError, match=told):
        require_same_backbone(source, coded)


def test_a_split_at_another_place_is_refused():
    coded = SCENARIOS.get("mini-clu-facts")
    with pytest.raises(LaMoFCBenchError, match="split after block 3 and 4"):
        require_same_backbone(coded.model_copy(update={"id": "other", "splits": (3,)}), coded)


def test_what_fitting_made_of_the_parameters_is_kept(toy, toy_data):
    class Renamed(IdentityCodec):
        """Replaces a path by what it found there, as codecs with published tables do."""

        @dataclass(frozen=True)
        class Params:
            tables: str = ""

        needs_calibration = True

        def fit(self, calibration, sensitivity=None):
            return type(self)(self.specs, {"tables": "sha256:0"}, {"count": torch.tensor([1.0])})

    codec = Renamed(toy.specs, {"tables": "/somewhere"})
    assert fit_elsewhere(codec, [toy], Calibration(toy, toy_data), 0, None).params.tables == "sha256:0"


def test_a_comparison_of_runs_leaves_them_out(results):
    found = compare_runs(results, results, resamples=10, speeds=False)
    assert sum("left out 4 results of codecs fitted on other scenarios" in line for line in found.warnings) == 2
    assert not any("replaced" in line for line in found.warnings)


def test_each_backbone_has_a_matrix_with_the_mean_over_its_pairs(results):
    summary = compile_summary(results, resamples=0, bound=False)
    made = []
    rates = [("a", "b", 1.0), ("b", "a", 4.0), ("a", "a", 0.5), ("a+b", "b", 0.6), ("x", "y", 9.0)]
    for source, coded, rate in rates:
        retained = RetainedRate(percent=95, ebpfp=Estimate(value=rate), bound="exact", compression=32 / rate)
        changed = {"fitted_on": source, "coded": coded, "retained": retained}
        made.append(summary.transfers[0].model_copy(update=changed))
    first, second = transfer_tables(summary.model_copy(update={"transfers": made}))
    assert [column.name for column in first.columns] == ["fitted on", "a", "b"]
    assert [[cell.text for cell in row] for row in first.rows] == [
        ["a", "0.500 (own)", "1.00"],
        ["b", "4.00", text.NOTHING],
        ["all together", text.NOTHING, "0.600"],
    ]
    assert "2.50 in the mean, geometrically 2.00, over 2 ordered pairs" in first.notes[1]
    assert [column.name for column in second.columns] == ["fitted on", "y"]


def test_fitted_on_all_others_together_has_a_mean_of_its_own(results):
    summary = compile_summary(results, resamples=0, bound=False)
    made = []
    rates = [("a", "b", 1.0), ("b+c", "a", 0.5), ("a+c", "b", 2.0), ("a+b+c", "c", 9.0)]
    for source, coded, rate in rates:
        retained = RetainedRate(percent=95, ebpfp=Estimate(value=rate), bound="exact", compression=32 / rate)
        made.append(summary.transfers[0].model_copy(update={"fitted_on": source, "coded": coded, "retained": retained}))
    (table,) = transfer_tables(summary.model_copy(update={"transfers": made}))
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["a", text.NOTHING, "1.00", text.NOTHING],
        ["all others", "0.500", "2.00", text.NOTHING],
        ["all together", text.NOTHING, text.NOTHING, "9.00"],
    ]
    assert table.notes[1:] == [
        "Fitted on one and run on another: 1.00 in the mean, geometrically 1.00, over 1 ordered pair.",
        "Fitted on all others together: 1.25 in the mean, geometrically 1.00, over 2 of 3 scenarios.",
    ]


def test_the_command_refuses_it_in_one_line_before_anything_runs(tmp_path, capsys):
    arguments = ["run", "--scenarios", DIGITS, "--fit-on", "mini-cvu-depth", *RUN, "--results", str(tmp_path)]
    assert main(arguments) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
