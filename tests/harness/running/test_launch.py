import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.running import launch
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.errors import LaMoFCBenchError


def lamofcbench(*arguments, **environment):
    command = [sys.executable, "-m", "harness.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment})


def test_two_processes_both_work_and_write_the_files_of_one(toy, toy_file, toy_data, tmp_path, make_runner, snapshot):
    done = lamofcbench(
        "run", "--scenarios", toy_file, "--codecs", "zstd", "--data", toy_data, "--results", tmp_path / "two",
        "--num-processes", 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folders = [Path(line) for line in done.stdout.splitlines()]
    assert [folder.parent.name for folder in folders] == ["identity", "mean", "zstd"]  # each printed once
    for folder in folders:
        run = json.loads((folder / "run.json").read_text())
        assert run["processes"] == 2
        assert run["batches_by_rank"] == {"0": 3, "1": 3}
    make_runner(results=tmp_path / "one").run(make_codecs("zstd", toy.specs))
    assert snapshot(tmp_path / "two") == snapshot(tmp_path / "one")


def test_an_error_in_any_process_is_one_line_and_a_failure(toy_file, toy_data, tmp_path):
    codec = tmp_path / "half.py"
    codec.write_text(
        "import os\n"
        "from lamofcbench.codecs.identity import IdentityCodec as Base\n"
        "class Half(Base):\n"
        "    def encode_tensor(self, spec, tensor):\n"
        "        if os.environ.get('RANK') == '1':\n"
        "            raise ValueError('not on this one')\n"
        "        return super().encode_tensor(spec, tensor)\n"
    )
    done = lamofcbench(
        "run", "--scenarios", toy_file, "--codecs", f"{codec}:Half", "--data", toy_data, "--results", tmp_path / "r",
        "--num-processes", 2,
    )  # fmt: skip
    assert done.returncode != 0
    messages = [line for line in done.stderr.splitlines() if line.startswith("lamofcbench:")]
    assert len(messages) == 1 and "not on this one" in messages[0]
    assert "Traceback" not in done.stderr
    # What both processes finished before is kept.
    assert {path.parent.parent.name for path in (tmp_path / "r").rglob("result.json")} == {"identity", "mean"}


def test_outcomes_are_everybodys():
    assert launch._settle([launch._attempt(lambda: 7), (None, None)]) == 7

    def fail():
        raise ValueError("boom")

    with pytest.raises(launch.TeamError, match="unexpected ValueError: boom"):
        launch._settle([(1, None), launch._attempt(fail)])


def test_one_process_is_a_team_of_its_own(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    team = launch.join()
    assert (team.rank, team.size, team.leads) == (0, 1, True)
    assert team.from_leader(lambda: 3) == team.together(lambda: 3) == 3

    def fail():
        raise LaMoFCBenchError("as it is")

    with pytest.raises(LaMoFCBenchError, match="as it is"):
        team.together(fail)
