import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaits

import pytest

from lamofcbench import locks
from lamofcbench.errors import WriteError
from lamofcbench.locks import locked


@pytest.fixture
def pool():
    with ThreadPoolExecutor() as threads:
        yield threads


def hold(file, what="the second"):
    with locked(file, what):
        return "held"


def test_the_second_waits_and_says_for_whom(tmp_path, pool, caplog):
    file = tmp_path / "a" / "b.lock"
    with locked(file, "running identity() on toy@1"):
        second = pool.submit(hold, file)
        with pytest.raises(StillWaits):
            second.result(timeout=0.5)
        (line,) = caplog.messages
        assert line.startswith(f"waiting for process {os.getpid()} on {socket.gethostname()}, which has been ")
        assert "running identity() on toy@1 since 20" in line
    assert second.result(timeout=10) == "held"


def test_short_waits_go_without_saying(tmp_path, caplog):
    for _ in range(3):
        assert hold(tmp_path / "a.lock") == "held"
    assert caplog.messages == []


def test_an_error_under_the_lock_releases_it(tmp_path):
    with pytest.raises(ValueError, match="inside"), locked(tmp_path / "a.lock", "work"):
        raise ValueError("inside")
    assert hold(tmp_path / "a.lock") == "held"
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]  # no note of a holder


def test_a_holder_that_is_killed_releases_the_lock(tmp_path, pool):
    code = (
        "import sys, time; from pathlib import Path; from lamofcbench.locks import locked\n"
        "with locked(Path(sys.argv[1]), 'work'): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        second = pool.submit(hold, tmp_path / "a.lock")
        with pytest.raises(StillWaits):
            second.result(timeout=0.3)
        holder.kill()
        assert second.result(timeout=10) == "held"


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"doing": 3', "\udcff"])
def test_a_holder_that_left_no_readable_note_is_still_waited_for(tmp_path, pool, caplog, note):
    with locked(tmp_path / "a.lock", "work"):
        (tmp_path / "a.lock.holder").write_bytes(note.encode(errors="surrogateescape"))
        second = pool.submit(hold, tmp_path / "a.lock")
        with pytest.raises(StillWaits):
            second.result(timeout=0.4)
        assert caplog.messages == [f"waiting for another process, which holds {tmp_path / 'a.lock'}"]
    assert second.result(timeout=10) == "held"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_there_are_no_locks_the_presence_of_a_file_stands_in(tmp_path, pool, caplog, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locks, "_without_locks", set())
    file = tmp_path / "a.lock"
    with locked(file, "work"):
        second = pool.submit(hold, file)
        with pytest.raises(StillWaits):
            second.result(timeout=0.6)
    assert second.result(timeout=10) == "held"
    assert hold(file) == "held"
    assert ["knows no locks" in message for message in caplog.messages] == [True, False]  # said once
    assert f"process {os.getpid()} on" in caplog.messages[1] and "; if that is gone, delete " in caplog.messages[1]


def test_a_lock_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot write .*file/a\.lock: "), locked(tmp_path / "file" / "a.lock", "x"):
        pass


def test_the_note_is_json_that_a_person_can_read(tmp_path):
    with locked(tmp_path / "a.lock", "work"):
        note = json.loads((tmp_path / "a.lock.holder").read_text())
    assert (note["doing"], note["process"], note["host"]) == ("work", os.getpid(), socket.gethostname())
