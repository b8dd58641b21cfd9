import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from harness import cli
from harness.results.result import PROTOCOL_VERSION
from harness.results.store import find_results
from harness.running.pipeline import Pipeline
from harness.running.selection import select_codecs, select_scenarios


@pytest.fixture
def lamofcbench(capsys):
    """Runs a command line in this process; its status, stdout lines and stderr."""

    def run(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err

    return run


@pytest.fixture
def run_toy(lamofcbench, toy_file, toy_data, tmp_path):
    def run(*arguments, codecs=("zstd",), results=tmp_path / "results"):
        return lamofcbench(
            "run", "--scenarios", toy_file, "--codecs", *codecs, "--data", toy_data, "--results", results, "--paths",
            *arguments,
        )  # fmt: skip

    return run


def test_help_is_quick_because_it_imports_nothing_heavy():
    code = (
        "import sys, harness.cli as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'datasets', 'transformers', 'evaluate', 'matplotlib', 'sklearn', 'pyarrow', 'accelerate'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"--help imports {done.stderr}"
    for command in ("scenarios", "codecs", "build", "encode", "decode", "run", "score"):
        assert f"    {command} " in done.stdout or f"    {command}\n" in done.stdout


def test_a_mistake_in_what_is_asked_of_results_is_told_before_torch_is_imported():
    code = (
        "import sys, harness.cli as c\n"
        "asked = (['report'], ['report', '--bootstrap', '-1'], ['recommend'], ['recommend', '--keep', '0'])\n"
        "told = [c.main([*words, '--results', 'absent']) for words in asked]\n"
        "sys.exit(told != [1] * 4 or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 4)


@pytest.mark.parametrize("command", cli.find_commands())
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert "usage: lamofcbench" in capsys.readouterr().out


def test_scenarios_and_codecs_are_listed_for_people_and_machines(lamofcbench):
    status, lines, _ = lamofcbench("scenarios", "--edition", "mini", "--json")
    listed = json.loads("\n".join(lines))
    assert status == 0 and {entry["edition"] for entry in listed} == {"mini"}
    assert {"mini-cvu-digits", "mini-clu-arithmetic"} <= {entry["id"] for entry in listed}
    assert lamofcbench("scenarios")[1][0].startswith("scenario")
    codecs = {entry["name"]: entry for entry in json.loads("\n".join(lamofcbench("codecs", "--json")[1]))}
    assert codecs["identity"]["lossless"] is True and codecs["mean"]["needs_calibration"] is True
    assert lamofcbench("codecs")[1][0].startswith("codec")


def test_run_with_paths_prints_the_folders_bare_one_a_line(run_toy, tmp_path):
    status, lines, _ = run_toy(codecs=["zstd", "identity"])
    assert status == 0
    assert [Path(line).parent.name for line in lines] == ["identity", "mean", "zstd"]
    assert all((Path(line) / "result.json").is_file() for line in lines)
    assert {str(folder.path) for folder in find_results(tmp_path / "results")} == set(lines)
    assert run_toy(codecs=["zstd", "identity"])[1] == lines  # finished: the same folders again


def test_run_tells_each_point_on_a_line_and_ebpfp_at_the_end(lamofcbench, run_toy, toy_file, toy_data, tmp_path):
    run_toy(codecs=["uniform:step=0.7"])
    arguments = ("run", "--scenarios", toy_file, "--data", toy_data, "--results", tmp_path / "results", "--codecs")
    status, lines, errors = lamofcbench(*arguments, "uniform:step=0.7", "zstd")
    assert (status, errors) == (0, "")
    blank = lines.index("")
    head, *rows = [line.split() for line in lines[:blank]]
    assert head == ["scenario", "codec", "EBPFP", "score", "kept", "%", "seconds"]
    assert [row[1] for row in rows] == ["identity", "mean", "uniform:step=0.7", "zstd"]
    assert [row[-1] == "resumed" for row in rows] == [True, True, True, False]
    assert (rows[0][4], rows[1][4]) == ("100.0", "0.0")
    assert lines[blank + 1].startswith("EBPFP@95")
    assert lines[blank + 2].split() == ["scenario", "uniform", "zstd"]
    assert lamofcbench(*arguments, "zstd", "--quiet")[1][0].startswith("EBPFP@95")  # the table alone
    points = json.loads("\n".join(lamofcbench(*arguments, "zstd", "--json")[1]))
    assert [point["codec"] for point in points] == ["identity", "mean", "zstd"]
    assert all(point["resumed"] and (Path(point["folder"]) / "result.json").is_file() for point in points)


def test_run_arguments_reach_the_results(run_toy):
    lines = run_toy("--limit", 3, "--seed", 4, "--no-bitstreams", codecs=["uniform:step=0.7"])[1]
    result = json.loads((Path(lines[-1]) / "result.json").read_text())
    assert (result["samples"], result["seed"], result["codec"]["params"]) == (3, 4, {"step": 0.7})
    assert not (Path(lines[-1]) / "bitstreams").exists()


@pytest.mark.parametrize(
    ("points", "steps"), [(1, [2.0]), (2, [0.05, 8.0]), (3, [0.35, 2.0, 8.0]), (4, [0.35, 1.4, 2.8, 8.0])]
)
def test_a_ladder_can_be_thinned(toy_file, points, steps):
    [scenario] = select_scenarios([toy_file])
    codecs = select_codecs(["uniform", "zstd"], scenario, points=points)
    assert [codec.params.step for codec in codecs if codec.name == "uniform"] == steps
    assert [codec.name for codec in codecs].count("zstd") == 1


def test_stats_shows_every_tensor_with_and_without_its_largest_channels(lamofcbench, toy_file, toy_data, tmp_path):
    status, lines, _ = lamofcbench("stats", toy_file, "--data", toy_data, "--limit", 4)
    assert status == 0
    assert "4 samples" in lines[0] and lines[1].startswith("tensor")
    status, lines, _ = lamofcbench("stats", toy_file, "--data", toy_data, "--split", "test", "--json")
    [scenario] = select_scenarios([toy_file])
    [tensors] = json.loads("\n".join(lines)).values()
    assert [tensor["name"] for tensor in tensors] == [spec.name for spec in scenario.tensors]
    assert all(tensor["all"]["minimum"] <= tensor["all"]["median"] <= tensor["all"]["maximum"] for tensor in tensors)


def test_a_codec_in_a_users_own_file_runs_unregistered(run_toy, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from lamofcbench.codecs.identity import IdentityCodec\nclass MyCodec(IdentityCodec):\n    pass\n")
    status, lines, errors = run_toy(codecs=[f"{file}:MyCodec"])
    assert status == 0, errors
    assert Path(lines[-1]).parent.name == "my"
    assert (Path(lines[-1]) / "codec" / "source" / "mine.py").read_bytes() == file.read_bytes()


def test_a_dry_run_estimates_and_writes_nothing(run_toy, tmp_path):
    status, lines, _ = run_toy("--dry-run", codecs=["zstd", "uniform"])
    assert status == 0
    assert not (tmp_path / "results").exists()
    head, *rows, total = [line.split() for line in lines]
    assert head == ["scenario", "codec", "samples", "time", "memory", "disk"] and total[0] == "total"
    assert [row[1].partition("(")[0] for row in rows[:3]] == ["identity", "mean", "zstd"]
    run_toy()
    assert "finished" in "\n".join(run_toy("--dry-run")[1])


def test_an_estimate_of_disk_is_near_the_truth(run_toy, tmp_path):
    from harness.running.estimate import estimate
    from harness.running.runner import ScenarioRunner
    from harness.running.settings import RunSettings

    folder = Path(run_toy(codecs=["identity"])[1][0])
    (scenario,) = select_scenarios([f"{Path(__file__).parents[1] / 'data' / 'toy_scenario.py'}:TOY"])
    runner = ScenarioRunner(scenario, RunSettings(results=tmp_path / "other"))
    estimated = next(iter(estimate(runner, []))).disk_bytes
    actual = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert actual / 3 < estimated < 3 * actual


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "unknown command 'rnu'; did you mean 'run'"),
        (["run", "--scenarios", "mini-cvu-digit", "--codecs", "zstd", "--results", "r"], "mean 'mini-cvu-digits'"),
        (["run", "--scenarios", "{toy}", "--codecs", "zsdt", "--results", "r"], "did you mean 'zstd'"),
        (["run", "--scenarios", "{toy}", "--codecs", "uniform:stp=1", "--results", "r"], "did you mean 'step'"),
        (["run", "--scenarios", "{toy}", "--codecs", "uniform:step=x", "--results", "r"], "uniform"),
        (["run", "--scenarios", "{toy}", "--codecs", "uniform:step", "--results", "r"], "such as uniform:step=0.05"),
        (
            ["run", "--scenarios", "{toy}", "--codecs", "zstd", "--results", "r", "--ladders", "no"],
            "--ladders no is no",
        ),
        (["run", "--scenarios", "nowhere.py:TOY", "--codecs", "zstd", "--results", "r"], "no file"),
        (["run", "--scenarios", ",", "--codecs", "zstd", "--results", "r"], "no scenario is named"),
        (["run", "--scenarios", "{toy}", "--codecs", "zstd", "--results", "r", "--limit", "0"], "--limit is 0"),
        (["run", "--scenarios", "{toy}", "--codecs", "zstd", "--results", "r", "--points", "0"], "--points is 0"),
        (["run", "--scenarios", "{toy}", "--codecs", "zstd", "--results", "r", "--device-map", "x"], "it may be auto"),
        (["run", "--scenarios", "{toy}", "--codecs", "zstd", "--results", "r", "--max-memory", "x"], "no DEVICE=SIZE"),
        (
            ["run", "--scenarios", "{toy}", "--codecs", "zstd", "--results", "r", "--offload", "x"],
            "belong to a --device-map",
        ),
        (
            ["run", "--scenarios", "{toy}", "--codecs", "zstd", "--results", sys.executable],
            "is a file; results are kept",
        ),
        (["stats", "{toy}", "--limit", "0"], "limit is 0"),
        (["stats", "mini-cvu-digts"], "mini-cvu-digits"),
        (["run", "--scenarios", "{toy}", "--codecs", "zstd", "--results", "r", "--num-processes", "0"], "at least 1"),
        (["run", "--scenarios", "{toy}", "--codecs", "zstd", "--results", "r", "--data", "empty"], "empty"),
        (["run", "--scenarios", "cvu-nyuv2", "--codecs", "zstd", "--results", "r"], "cvu-nyuv2"),
        (["build", "cvu-nyuv2", "--output", "o"], "name their folder with --raw"),
        (["build", "cvu-nyuv2", "--output", "o", "--raw", ".", "--device-map", "x"], "it may be auto"),
        (["build", "mini-cvu-digits", "--output", "o", "--raw", "."], "is built without --raw; that is for the full"),
        (["build", "{toy}", "--output", "o", "--device-map", "auto"], "is built without --device-map"),
        (["build", "{toy}", "--output", "o", "--device", "cuda:x"], "unknown device 'cuda:x'"),
        (["score", "--results", "r"], "no finished result"),
        (["encode", "{toy}", "--codec", "uniform", "--output", "x.bin"], "of them: uniform:step=0.05, uniform"),
        (["encode", "{toy}", "--codec", "zstd", "--output", "x.bin", "--index", "99"], "no sample 99"),
        (["decode", "nothing.bin", "--output", "x.safetensors"], "no saved codec"),
        (["push", "results", "--repo", "me/codec"], "lamofcbench: results is no saved codec"),
        (
            ["submit", "r", "--dry-run", "--link", "http://x.org"],
            "--link is 'http://x.org'; give an address that begins",
        ),
        (["submit", "r", "--dry-run", "--commit", "0123abc"], "--commit is '0123abc'; give all of its 40 hex digits"),
        (
            ["validate", "https://huggingface.co/datasets/org/results/tree/main"],
            "is the address of no pull request, which ends in /discussions/N",
        ),
        (["validate", "org/results#3@0123abc"], "alone or with @ and a commit of 40 hex digits"),
    ],
)
def test_a_mistake_is_one_clear_line_and_a_failure(lamofcbench, toy_file, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, lines, errors = lamofcbench(*(argument.replace("{toy}", toy_file) for argument in arguments))
    assert status in (1, 2)
    assert lines == [] and len(errors.strip().splitlines()) == 1
    assert errors.startswith("lamofcbench: ") and message in errors
    assert not list(tmp_path.rglob("result.json"))


def test_debug_shows_where_an_error_comes_from(toy_file):
    from lamofcbench.errors import UnknownNameError

    with pytest.raises(UnknownNameError):
        cli.main(["encode", toy_file, "--codec", "zsdt", "--output", "x", "--debug"])


def test_interrupting_says_that_rerunning_resumes(run_toy, monkeypatch):
    def interrupt(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, "run", interrupt)
    status, lines, errors = run_toy()
    assert (status, lines) == (130, [])
    assert errors.strip() == "lamofcbench: interrupted; rerun the same command to resume"


def test_one_sample_to_a_file_and_back(lamofcbench, toy_file, toy_data, tmp_path, make_runner):
    coded, restored = tmp_path / "out" / "sample.bin", tmp_path / "restored.safetensors"
    status, lines, errors = lamofcbench(
        "encode", toy_file, "--codec", "zstd", "--index", 3, "--output", coded, "--data", toy_data
    )
    assert (status, lines) == (0, [str(coded), f"{coded}.codec"]), errors
    status, lines, errors = lamofcbench("decode", coded, "--output", restored)
    assert (status, lines) == (0, [str(restored)]), errors
    original = make_runner().test.features(3)
    with safe_open(restored, "pt") as file:
        assert file.metadata() == {"seed": str(original.side["seed"])}
        for name, tensor in original.tensors.items():
            assert file.get_tensor(name).dtype is tensor.dtype and bool((file.get_tensor(name) == tensor).all())


def test_scoring_again_prints_the_folders_and_checks_them(lamofcbench, run_toy, toy_file, toy_data, tmp_path):
    folders = run_toy(codecs=["uniform:step=0.5"])[1]
    arguments = ["score", "--results", tmp_path / "results", "--data", toy_data, "--decode"]
    status, lines, errors = lamofcbench(*arguments, "--scenarios", toy_file)
    assert status == 0 and sorted(lines) == sorted(folders), errors
    assert "toy-directions@1 uniform step=0.5" in errors
    assert "toy-directions@1 identity accuracy 1; 22 samples decode elsewhere, 22 of them bit for bit" in errors
    assert lamofcbench(*arguments, "--scenarios", toy_file, "--update")[0] == 0
    assert json.loads((Path(folders[0]) / "result.json").read_text())["verification"]["samples"] == 22
    status, _, errors = lamofcbench(*arguments)
    assert status == 1 and "--scenarios path/to/file.py:NAME" in errors
    bitstream = Path(folders[-1]) / "bitstreams" / "4.bin"
    bitstream.write_bytes(bitstream.read_bytes()[:-1])
    status, _, errors = lamofcbench(*arguments, "--scenarios", toy_file)
    assert status == 1 and "sample 4 (test-4)" in errors


def test_scoring_leaves_out_results_of_another_protocol(lamofcbench, run_toy, toy_file, tmp_path):
    old, *rest = run_toy()[1]
    file = Path(old) / "result.json"
    file.write_text(file.read_text().replace(f'"protocol_version": {PROTOCOL_VERSION}', '"protocol_version": 1'))
    status, lines, errors = lamofcbench("score", "--results", tmp_path / "results", "--scenarios", toy_file)
    assert status == 0 and sorted(lines) == sorted(rest)
    known = f"1, this version has {PROTOCOL_VERSION}"
    assert f"{old} is left out: it was made by another protocol ({known}); run it again, then remove it" in errors


def test_building_prints_the_folder_of_the_data(lamofcbench, toy_file, tmp_path):
    status, lines, _ = lamofcbench("build", toy_file, "--output", tmp_path, "--quiet")
    assert (status, lines) == (0, [str(tmp_path / "toy-directions")])
    assert (tmp_path / "toy-directions" / "test.parquet").is_file()


def test_verify_names_what_is_damaged_and_ends_with_the_counts(lamofcbench, toy_data, run_toy, tmp_path):
    sizes = [path.stat().st_size for path in toy_data.rglob("*") if path.is_file() and path.suffix != ".lock"]
    counts = f"{len(sizes)} files, {sum(sizes)} bytes read, 0 damaged"
    assert lamofcbench("verify", toy_data, "--quiet")[:2] == (0, [counts])
    run_toy()
    folder = find_results(tmp_path / "results")[0].path
    path = folder / "bitstreams" / "3.bin"
    path.write_bytes(path.read_bytes()[::-1])
    status, lines, _ = lamofcbench("verify", tmp_path / "results", "--quiet")
    assert status == 1 and len(lines) == 2
    assert lines[0].startswith(f"damaged: {path}: ") and lines[1].endswith(" bytes read, 1 damaged")
    status, lines, _ = lamofcbench("verify", folder, "--json", "--quiet")
    found = json.loads("\n".join(lines))
    assert status == 1 and found["damaged"] == 1 and found["damage"][0]["file"] == str(path)
    status, lines, error = lamofcbench("verify", tmp_path / "absent")
    assert (status, lines) == (1, []) and "is neither a dataset folder nor a results folder" in error
