"""A process with a disk of its own leaves nothing for another, and sees nothing that others left."""

import json
import subprocess
import sys

import pytest

from harness.running import enclosure
from harness.running.confinement import confined, shares_disk

pytestmark = pytest.mark.skipif(bool(shares_disk()), reason=shares_disk())

CLOSED_OFF = """
import json, os, runpy, subprocess, sys
from pathlib import Path
own, hidden, visible = map(Path, sys.argv[2:])
os.chdir(own)
close_off = runpy.run_path(sys.argv[1])["close_off"]
close_off(own, [str(visible)], [str(hidden), "/nowhere", "/"], [str(visible / "deep")], 2**20)

def done(*command):
    return subprocess.run(command, capture_output=True, text=True).returncode == 0

"""


@pytest.fixture
def answer(tmp_path):
    """What an expression comes to in a process that is closed off."""
    for name in ("own", "hidden/seen/deep", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "hidden" / "left").write_text("by another")
    (tmp_path / "hidden" / "seen" / "module").write_text("needed")

    def ask(expression):
        program = f"{CLOSED_OFF}print(json.dumps({expression}))"
        folders = [str(tmp_path / name) for name in ("own", "hidden", "hidden/seen")]
        command = confined([sys.executable, "-I", "-S", "-c", program, enclosure.__file__, *folders])
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return ask


def test_what_others_left_is_not_there_but_what_is_needed_is(answer):
    assert answer("[(hidden / 'left').exists(), (visible / 'module').read_text()]") == [False, "needed"]


def test_it_leaves_nothing_through_a_program_either(answer, tmp_path):
    write = "[done('sh', '-c', f'echo 1 > {hidden}/x'), (hidden / 'x').exists()]"
    assert answer(write) == [False, False] and not (tmp_path / "hidden" / "x").exists()
    memory = "[done('sh', '-c', 'echo 1 > /dev/shm/x'), Path('/dev/shm/x').exists()]"
    assert answer(memory) == [True, True] and answer("Path('/dev/shm/x').exists()") is False


def test_of_devices_there_are_the_harmless_ones(answer):
    kept = {"null", "zero", "full", "random", "urandom", "shm"}
    assert set(answer("os.listdir('/dev')")) <= kept
    assert answer("[done('sh', '-c', 'echo 1 > /dev/null'), len(Path('/dev/urandom').open('rb').read(4))]") == [True, 4]
    assert answer("done('mknod', str(own / 'memory'), 'c', '1', '1')") is False


def test_it_gets_no_further_namespaces_in_which_it_would_have_rights_again(answer):
    assert answer("[done('unshare', '-U', 'true'), done('unshare', '-Urm', 'true')]") == [False, False]


@pytest.mark.parametrize("place", ["{visible}/x", "{visible}/module", "{own.parent}/elsewhere/x", "/proc/sys/kernel/x"])
def test_nothing_else_can_be_written_by_whatever_user(answer, place):
    assert answer(f"done('sh', '-c', f'echo 1 >> {place}')") is False


def test_a_library_writes_beside_copies_of_what_it_reads(answer, tmp_path):
    kept = tmp_path / "hidden" / "seen" / "deep" / "compiled"
    kept.write_text("before")
    change = "(visible / 'deep' / 'compiled').write_text('after')"
    assert answer(f"[(visible / 'deep' / 'compiled').read_text(), {change}]") == ["before", 5]
    assert kept.read_text() == "before"


def test_its_own_folder_is_on_the_disk(answer, tmp_path):
    assert answer("(Path('here').write_text('1'), str(Path.cwd()) == str(own))")[1]
    assert (tmp_path / "own" / "here").read_text() == "1"


@pytest.mark.parametrize(
    "command",
    [
        "umount {hidden}",
        "mount -o remount,rw /",
        "mount -o remount,rw,bind {visible}",
        "unshare -Urm umount {hidden}",
        "unshare -Urm mount --bind {own.parent} {own}",
        "unshare -Urm mount -o remount,rw,bind {visible}",
    ],
)
def test_it_cannot_undo_that(answer, command):
    assert answer(f"done('sh', '-c', f'{command}')") is False


def test_it_sees_no_process_but_its_own(answer):
    assert answer("[os.getpid(), sorted(name for name in os.listdir('/proc') if name.isdigit())]") == [1, ["1"]]
