"""Several machines, as far as one can stand for them: process groups, network namespaces, tasks of an array.

What they leave is what one process leaves.
"""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lamofcbench.codecs.registry import make_codecs

COMMAND = [sys.executable, "-m", "harness.cli"]
SECONDS = 240

NAMESPACES = """
set -e
ip link set lo up
unshare -n sleep {seconds} >/dev/null 2>&1 &
other=$!
trap 'kill $other' EXIT
sleep 0.5
ip link add name near type veth peer name far netns $other
ip addr add 10.77.0.1/24 dev near
ip link set near up
nsenter -t $other -n sh -c 'ip link set lo up; ip addr add 10.77.0.2/24 dev far; ip link set far up'
export WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=10.77.0.1 MASTER_PORT=29511
RANK=1 GLOO_SOCKET_IFNAME=far nsenter -t $other -n "$@" &
second=$!
RANK=0 GLOO_SOCKET_IFNAME=near "$@"
wait $second
"""


def namespaces() -> bool:
    """Whether network namespaces may be made here, and joined by a pair of devices."""
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    script = "ip link add name near type veth peer name far"
    return subprocess.run(["unshare", "-rn", "sh", "-c", script], capture_output=True).returncode == 0


@pytest.fixture
def environment(repository):
    paths = [str(repository), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.fixture
def arguments(toy_file, toy_data, tmp_path):
    results = tmp_path / "several"
    return ["run", "--scenarios", toy_file, "--codecs", "zstd", "--data", str(toy_data), "--results", str(results)]


@pytest.fixture
def same_as_one(toy, make_runner, snapshot, tmp_path):
    """Compares what was left with what one process leaves."""

    def compare(*codecs):
        for codec in codecs or ("zstd",):
            make_runner(results=tmp_path / "one").run(make_codecs(codec, toy.specs))
        assert snapshot(tmp_path / "several") == snapshot(tmp_path / "one")

    return compare


def finished(processes):
    for process in processes:
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, errors


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return str(found.getsockname()[1])


@pytest.mark.slow
def test_two_groups_of_accelerates_launcher_write_the_files_of_one_process(arguments, environment, same_as_one):
    port = free_port()
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "2", "--num_processes", "2"]
    launcher += ["--cpu", "--mixed_precision", "no", "--dynamo_backend", "no", "--rdzv_backend", "static"]
    launcher += ["--main_process_ip", "127.0.0.1", "--main_process_port", port, "--num_cpu_threads_per_process", "1"]
    finished([
        subprocess.Popen(
            [*launcher, "--machine_rank", str(rank), "-m", "harness.cli", *arguments],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ])  # fmt: skip
    same_as_one()


@pytest.mark.slow
@pytest.mark.skipif(not namespaces(), reason="network namespaces may not be made here")
def test_two_network_namespaces_write_the_files_of_one_process(arguments, environment, same_as_one):
    script = NAMESPACES.format(seconds=SECONDS)
    command = ["unshare", "-rn", "sh", "-c", script, "sh", *COMMAND, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    same_as_one()


@pytest.mark.slow
@pytest.mark.skipif(not namespaces(), reason="network namespaces may not be made here")
def test_two_network_namespaces_extract_the_files_of_one_process(environment, tmp_path, repository):
    sys.path.append(str(repository / "tests" / "dataset_builders" / "full"))
    try:
        import small_scenarios as small
    finally:
        sys.path.pop()
    small.classification(tmp_path / "weights")
    for seed in range(5):
        part = "val" if seed < 3 else "train"
        small.put(tmp_path / "raw" / part / "n01440764" / f"{seed}.JPEG", small.picture(seed))
    scenario = tmp_path / "scenario.py"
    scenario.write_text(
        "import sys\nfrom pathlib import Path\n"
        f"sys.path.append({str(repository / 'tests' / 'dataset_builders' / 'full')!r})\n"
        "from lamofcbench.scenarios.base import SCENARIOS\n"
        "import small_scenarios as small\n"
        f"options = {{'image_size': 64, 'head_file': 'head.pth'}}\n"
        f"SMALL = small.small('cvu-imagenet-val', Path({str(tmp_path / 'weights')!r}), options, "
        "**small.blocks('cvu-imagenet-val', (5,)))\n"
    )
    build = ["build", f"{scenario}:SMALL", "--raw", str(tmp_path / "raw"), "--quiet", "--output"]
    script = NAMESPACES.format(seconds=SECONDS)
    several = ["unshare", "-rn", "sh", "-c", script, "sh", *COMMAND, *build, str(tmp_path / "several")]
    for command in (several, [*COMMAND, *build, str(tmp_path / "one")]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
    one, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "cvu-imagenet-val").iterdir()}
        for name in ("one", "several")
    )
    assert one == other and len(one) == 8


def array_script(page: Path) -> str:
    """The script of a Slurm array on the page, as it stands."""
    text = page.read_text(encoding="utf-8")
    return text.split("<!-- array -->\n```sh\n")[1].split("```")[0]


@pytest.mark.slow
def test_the_tasks_of_the_documented_array_share_a_results_folder(
    arguments, environment, same_as_one, repository, tmp_path, toy_file, toy_data
):
    script = array_script(repository / "docs" / "cluster.md")
    run = tmp_path / "bin" / "lamofcbench"
    run.parent.mkdir()
    run.write_text(f'#!/bin/sh\nexec {sys.executable} -m harness.cli "$@"\n')
    run.chmod(0o755)
    environment = {**environment, "PATH": f"{run.parent}{os.pathsep}{environment['PATH']}"}
    environment |= {"SCENARIO": toy_file, "CODECS": "zstd uniform:step=4", "DATA": str(toy_data)}
    environment |= {"RESULTS": str(tmp_path / "several")}
    finished([
        subprocess.Popen(
            ["bash", "-eu", "-c", script], env={**environment, "SLURM_ARRAY_TASK_ID": str(task)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for task in (0, 1)
    ])  # fmt: skip
    same_as_one("zstd", "uniform:step=4")
