"""The whole command on the toy scenario, in this process and in two of its own."""

import functools
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from harness.cli import main
from harness.training import ladder
from harness.training.plan import TrainingPlan
from lamofcbench.codecs.learned.checkpoints import load_network
from lamofcbench.codecs.registry import make_codecs

TINY = ("--widths", "4,6", "--crop", "64", "--batch-size", "4", "--steps", "4", "--seed", "1", "--quiet")
VALIDATION_ELEMENTS = 2**15
"""Of a validation, in place of half a million: each file of weights is validated once for each format of storage."""


@pytest.fixture(scope="module", autouse=True)
def _validations_are_short():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "TrainingPlan", functools.partial(TrainingPlan, validation_elements=VALIDATION_ELEMENTS))
        yield


def train(toy_file, toy_data, output, *options):
    return [
        "train",
        "hyperprior",
        "--scenarios",
        toy_file,
        "--data",
        str(toy_data),
        "--output",
        str(output),
        *TINY,
        *options,
    ]


@pytest.fixture(scope="module")
def trained(toy_file, toy_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    assert main(train(toy_file, toy_data, folder, "--lmbda", "0.01", "0.02")) == 0
    return folder


def test_a_folder_of_checkpoints_is_what_the_codec_takes(trained, toy, toy_data):
    from lamofcbench.storage.calibration import Calibration

    codec = make_codecs(f"hyperprior:lmbda=0.02,weights={trained}", toy.specs)[0]
    fitted = codec.fit(Calibration(toy, toy_data))
    features = Calibration(toy, toy_data)[0]
    assert fitted.decode(fitted.encode(features)).tensors.keys() == features.tensors.keys()


def test_the_card_tells_how_the_weights_came_about(trained, toy):
    card = json.loads((trained / "0.02.json").read_text())
    assert (card["codec"], card["lmbda"], card["widths"], card["steps"], card["seed"]) == (
        "hyperprior",
        0.02,
        [4, 6],
        4,
        1,
    )
    assert card["loss"] == pytest.approx(card["bpp"] + 0.02 * 255**2 * card["mse"])
    assert abs(card["loss"] / card["loss_before_storing"] - 1) <= 0.001
    assert card["validation"]["verdict"] == "too few validations to tell"
    assert card["scenarios"][0]["id"] == toy.id and card["scenarios"][0]["samples"] == 12
    assert card["plan"]["start"] == ""
    warm = json.loads((trained / "0.01.json").read_text())
    assert warm["plan"]["start"] == card["weights_sha256"]  # from its neighbour
    assert card["history"] == []
    assert [(one["lmbda"], one["steps"], one["crop"]) for one in warm["history"]] == [(0.02, 4, 64)]


def test_stored_weights_hold_no_tables_and_load_without_them(trained):
    stored = load_file(trained / "0.01.safetensors")
    assert not [name for name in stored if name.endswith(("_quantized_cdf", "scale_table"))]
    network = load_network("hyperprior", trained / "0.01.safetensors")
    assert all(model.has_tables for model in network.entropy_models())


def test_the_format_of_the_weights_can_be_named(trained, toy_file, toy_data, tmp_path):
    finished = trained / "training"  # the same training again, from its end
    assert (
        main(
            train(toy_file, toy_data, tmp_path, "--lmbda", "0.02", "--storage", "int8", "--checkpoints", str(finished))
        )
        == 0
    )
    card = json.loads((tmp_path / "0.02.json").read_text())
    assert card["stored_as"] == "int8"
    assert card["plan"] == json.loads((trained / "0.02.json").read_text())["plan"]


def test_curves_are_written(trained):
    rows = [json.loads(line) for line in (trained / "training" / "hyperprior-0.02.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 4 and {"loss", "bpp", "mse", "validation_loss", "rate"} <= set(rows[-1])
    assert (trained / "training" / "hyperprior.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_training_is_left_alone(trained, toy_file, toy_data, capsys):
    before = {path: path.stat().st_mtime_ns for path in trained.glob("0.0*")}
    assert main(train(toy_file, toy_data, trained, "--lmbda", "0.01", "0.02")) == 0
    assert before == {path: path.stat().st_mtime_ns for path in trained.glob("0.0*")}
    assert capsys.readouterr().out.split() == [str(trained / f"{lmbda}.safetensors") for lmbda in (0.02, 0.01)]


def test_another_training_does_not_overwrite(trained, toy_file, toy_data, capsys):
    assert main(train(toy_file, toy_data, trained, "--lmbda", "0.02", "--seed", "2")) == 1
    assert "another training of this lambda" in capsys.readouterr().err


def test_a_warm_start_takes_the_nearest_lambda_of_a_folder(trained, toy_file, toy_data, tmp_path):
    assert main(train(toy_file, toy_data, tmp_path, "--lmbda", "0.012", "--warm-start", str(trained))) == 0
    card = json.loads((tmp_path / "0.012.json").read_text())
    assert card["plan"]["start"] == json.loads((trained / "0.01.json").read_text())["weights_sha256"]


def test_a_rate_point_of_other_widths_starts_anew(toy_file, toy_data, tmp_path):
    options = ("--lmbda", "0.004", "0.02", "0.01", "--widths", "4,6", "8,12", "4,6")
    assert main([*train(toy_file, toy_data, tmp_path), *options]) == 0
    cards = {lmbda: json.loads((tmp_path / f"{lmbda}.json").read_text()) for lmbda in (0.02, 0.01, 0.004)}
    assert [cards[lmbda]["widths"] for lmbda in (0.02, 0.01, 0.004)] == [[8, 12], [4, 6], [4, 6]]
    assert [cards[lmbda]["steps"] for lmbda in (0.02, 0.01, 0.004)] == [4, 4, 2]
    assert cards[0.01]["plan"]["start"] == ""
    assert cards[0.004]["plan"]["start"] == cards[0.01]["weights_sha256"]


@pytest.fixture(scope="module")
def shared(toy_file, toy_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    options = ("--lmbda", "0.004", "0.01", "0.02", "--tune", *TUNED, "--storage", "int8")
    assert main(train(toy_file, toy_data, folder, *options)) == 0
    return folder


TUNED = (r"\.bias$", r"^g_[as]\.[06]\.", r"^h_[as]\.4\.", r"^entropy_bottleneck\.")


def test_rate_points_that_tune_store_what_differs_and_name_the_file_with_the_rest(shared):
    first = load_file(shared / "0.02.safetensors")
    for lmbda in (0.01, 0.004):
        own = load_file(shared / f"{lmbda}.safetensors")
        assert {"g_a.6.weight", "g_s.0.weight", "h_a.4.bias"} <= own.keys()
        assert not own.keys() & {"g_a.2.weight", "g_s.4.weight", "h_a.2.weight", "h_s.2.weight"}
        assert own.keys() < first.keys()
        card = json.loads((shared / f"{lmbda}.json").read_text())
        assert card["base"]["base"] == "0.02.safetensors" and card["plan"]["tuned"] == list(TUNED)
        assert len(card["history"]) == (1 if lmbda == 0.01 else 2)
    states = [load_network("hyperprior", shared / f"{lmbda}.safetensors").state_dict() for lmbda in (0.02, 0.004)]
    assert torch.equal(states[0]["g_a.2.weight"], states[1]["g_a.2.weight"])
    assert not torch.equal(states[0]["g_a.6.weight"], states[1]["g_a.6.weight"])


def test_a_ladder_begun_with_its_first_rate_point_resumes(toy_file, toy_data, tmp_path):
    assert main(train(toy_file, toy_data, tmp_path, "--lmbda", "0.02")) == 0
    command = train(toy_file, toy_data, tmp_path, "--lmbda", "0.01", "0.004", "--warm-start", str(tmp_path))
    assert main(command) == 0
    cards = {lmbda: json.loads((tmp_path / f"{lmbda}.json").read_text()) for lmbda in (0.02, 0.01, 0.004)}
    assert cards[0.01]["plan"]["start"] == cards[0.02]["weights_sha256"]
    assert cards[0.004]["plan"]["start"] == cards[0.01]["weights_sha256"]
    (tmp_path / "0.004.json").unlink()  # as if stopped after the second rate point
    times = (tmp_path / "0.01.safetensors").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "0.01.safetensors").stat().st_mtime_ns == times
    assert json.loads((tmp_path / "0.004.json").read_text())["plan"] == cards[0.004]["plan"]


def test_a_largest_lambda_cannot_start_from_what_was_made_of_it(shared, toy_file, toy_data, capsys):
    assert main(train(toy_file, toy_data, shared, "--lmbda", "0.03", "--warm-start", str(shared))) == 1
    assert "that 0.03 could start from" in capsys.readouterr().err


def test_weights_that_share_others_lie_beside_them(shared, toy_file, toy_data, tmp_path, capsys):
    options = ("--lmbda", "0.005", "--warm-start", str(shared), "--tune", "bias")
    assert main(train(toy_file, toy_data, tmp_path, *options)) == 1
    assert f"name --output {shared}" in capsys.readouterr().err


def test_a_pattern_that_finds_nothing_is_told(shared, toy_file, toy_data, capsys):
    options = ("--lmbda", "0.005", "--warm-start", str(shared), "--tune", "no such parameter")
    assert main(train(toy_file, toy_data, shared, *options)) == 1
    assert "no parameter of hyperprior has a name that no such parameter finds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "hyperprior", "--tune", "("), "is no regular expression"),
        (("train", "hyperprio"), "did you mean 'hyperprior'"),
        (("train", "hyperprior", "--crop", "65"), "multiple of 64"),
        (("train", "hyperprior", "--widths", "4"), "widths"),
        (("train", "hyperprior", "--widths", "4,6", "8,12"), "2 widths are named for 5 lambdas"),
        (("train", "hyperprior", "--num-processes", "3"), "shared evenly"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(arguments, message, toy_file, tmp_path, capsys):
    rest = ["--scenarios", toy_file, "--output", str(tmp_path)]
    try:
        assert main([*arguments, *rest]) != 0
    except SystemExit as error:  # argparse's own
        assert error.code == 2
    assert message in capsys.readouterr().err


def test_two_processes_share_the_work_and_resume(toy_file, toy_data, tmp_path):
    command = train(toy_file, toy_data, tmp_path, "--lmbda", "0.02", "--num-processes", "2")
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *command],
        capture_output=True,
        text=True,
        timeout=600,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "0.02.safetensors")]
    card = json.loads((tmp_path / "0.02.json").read_text())
    assert card["plan"]["processes"] == 2
    state = load_network("hyperprior", tmp_path / "0.02.safetensors").state_dict()
    assert all(bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point())
