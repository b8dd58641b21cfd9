import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
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
        "--num-processes", 2, "--paths",
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


@pytest.fixture
def slow_codec(tmp_path):
    """A codec that takes its time wherever SLOW is set."""
    file = tmp_path / "slow.py"
    file.write_text(
        "import os, time\n"
        "from lamofcbench.codecs.identity import IdentityCodec as Base\n"
        "class Slow(Base):\n"
        "    def encode_tensor(self, spec, tensor):\n"
        "        time.sleep(float(os.environ.get('SLOW', '0')))\n"
        "        return super().encode_tensor(spec, tensor)\n"
    )
    return f"{file}:Slow"


def started(command, **environment):
    environment = {**os.environ, "SLOW": "0.1", **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def once_it_computes(results):
    deadline = time.monotonic() + 120
    while len(list(results.glob("*/slow/*/bitstreams/*"))) < 8:  # a batch or two
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_one_line(process, pattern):
    """The process ends soon, with a failure and one message."""
    _, errors = process.communicate(timeout=120)  # soon, on a machine that has time
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert re.fullmatch(pattern, line), errors


def test_when_the_leader_is_killed_the_others_end_and_the_next_run_goes_on(
    toy, toy_file, toy_data, tmp_path, make_runner, snapshot, slow_codec
):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "harness.cli", "run", "--scenarios", toy_file, "--codecs", slow_codec]
    command += ["--data", str(toy_data), "--results", str(tmp_path / "results")]
    ranks = [
        started(
            command, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT=port
        )
        for rank in range(2)
    ]
    once_it_computes(tmp_path / "results")
    ranks[0].kill()  # and nobody asks for it yet
    assert_one_line(
        ranks[1], "lamofcbench: (process 0|another process) of this run .*; rerun the same command to resume"
    )
    ranks[0].communicate()
    codecs = make_codecs(slow_codec, toy.specs)
    make_runner().run(codecs)
    make_runner(results=tmp_path / "whole").run(codecs)
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")


def test_when_one_of_our_processes_is_killed_the_launcher_says_which(
    toy, toy_file, toy_data, tmp_path, make_runner, snapshot, slow_codec
):
    command = [sys.executable, "-m", "harness.cli", "run", "--scenarios", toy_file, "--codecs", slow_codec]
    command += ["--data", str(toy_data), "--results", str(tmp_path / "results"), "--num-processes", "2"]
    launcher = started(command)
    once_it_computes(tmp_path / "results")
    notes = [json.loads(note.read_text()) for note in (tmp_path / "results").rglob("1.lock.holder")]
    os.kill(notes[0]["process"], signal.SIGKILL)
    assert_one_line(launcher, "lamofcbench: process 1 was ended by SIGKILL; rerun to resume")
    codecs = make_codecs(slow_codec, toy.specs)
    make_runner().run(codecs)
    make_runner(results=tmp_path / "whole").run(codecs)
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")


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
