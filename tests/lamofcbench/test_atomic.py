import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from lamofcbench import atomic
from lamofcbench.atomic import remove_leftovers, replacing, write_bytes, write_errors, write_json, write_text
from lamofcbench.errors import DataError, LaMoFCBenchError, WriteError
from lamofcbench.processes import machine

SYNC = atomic._sync
"""Taken before the fixture of all tests puts nothing in its place."""

DEAD = 2**30  # beyond every system's process numbers


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def leftover(folder, *, where="", process=DEAD, name="a.txt"):
    path = folder / f".{name}.{where or machine()}-{process}-0123abcd.tmp"
    path.write_text("half")
    return path


# ------------------------------------------------------------------------------------------------- whole or not at all


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "sub" / "a.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent and temporary.name.startswith(".")
    assert path.read_text() == "new" and names(path.parent) == ["a.txt"]


def test_a_block_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("new")
        1 / 0
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_what_is_written(tmp_path):
    write_bytes(tmp_path / "a", b"\x00\r\n")
    write_text(tmp_path / "b", "ü\n")
    write_json(tmp_path / "c", {"b": 1, "a": [2.5]})
    assert (tmp_path / "a").read_bytes() == b"\x00\r\n"
    assert (tmp_path / "b").read_bytes() == b"\xc3\xbc\n"
    assert (tmp_path / "c").read_text() == '{\n  "a": [\n    2.5\n  ],\n  "b": 1\n}\n'


def test_a_folder_takes_the_place_of_a_folder(tmp_path):
    path = tmp_path / "codec"
    for content in ("old", "new"):
        with replacing(path) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert names(path) == ["new"] and names(tmp_path) == ["codec"]


def test_writers_at_once_do_not_meet(tmp_path):
    path, texts = tmp_path / "a.json", [str(number) * 20_000 for number in range(4)]
    folder = tmp_path / "folder"

    def write(text):
        for _ in range(10):
            write_text(path, text)
            with replacing(folder) as temporary:
                temporary.mkdir()
                (temporary / "a").write_text(text)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(write, text) for text in texts]
        while not all(one.done() for one in done):
            if path.exists():
                assert path.read_text() in texts
        for one in done:
            one.result()
    assert (folder / "a").read_text() in texts
    assert names(tmp_path) == ["a.json", "folder"]


def test_a_folder_that_another_writer_replaces_at_this_moment_is_no_device(tmp_path, monkeypatch):
    """For a moment there is none: who asks twice what it is may find neither file nor folder, and write into it."""
    folder, is_dir = tmp_path / "folder", Path.is_dir
    folder.mkdir()
    monkeypatch.setattr(Path, "is_dir", lambda self: self != folder and is_dir(self))
    with replacing(folder) as temporary:
        monkeypatch.undo()
        assert temporary != folder
        temporary.mkdir()


def test_a_long_name_is_no_obstacle(tmp_path):
    path = tmp_path / ("ü" * 120 + ".json")  # 245 bytes
    write_text(path, "x")
    assert names(tmp_path) == [path.name]


def test_a_file_gets_the_permissions_that_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_pipe_is_written_to_rather_than_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_bytes)
        write_bytes(pipe, b"through")
        assert read.result(timeout=10) == b"through"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_content_is_on_disk_before_its_name_changes(tmp_path, monkeypatch):
    events = []
    rename = Path.replace
    monkeypatch.setattr(atomic, "_sync", lambda number: (events.append("sync"), SYNC(number)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("rename"), rename(self, to))[1])
    write_bytes(tmp_path / "a", b"x")
    assert events == ["sync", "rename"] and SYNC in (os.fsync, getattr(os, "fdatasync", None))


# --------------------------------------------------------------------------------------------- what killed writers left


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from lamofcbench.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.mkdir(); (temporary / 'half').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "codec")], check=False)
    assert len(names(tmp_path)) == 1
    write_text(tmp_path / "other", "x")
    assert names(tmp_path) == ["other"]


def test_only_what_nobody_is_writing_any_more_is_removed(tmp_path):
    mine = leftover(tmp_path, process=os.getpid())
    running = leftover(tmp_path, process=1)
    elsewhere = leftover(tmp_path, where="00000000")
    dead = leftover(tmp_path)
    old = leftover(tmp_path, where="11111111")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    strangers = [tmp_path / name for name in (".a.tmp", "a.tmp", ".a.12-34-56.tmp", ".hidden")]
    for path in strangers:
        path.write_text("")
        os.utime(path, (0, 0))
    remove_leftovers(tmp_path)
    assert not dead.exists() and not old.exists()
    assert all(path.exists() for path in (mine, running, elsewhere, *strangers))


def test_a_folder_that_is_not_there_has_no_leftovers(tmp_path):
    remove_leftovers(tmp_path / "nowhere")


# ----------------------------------------------------------------------------------------------------- writing fails


def parquet(path):
    with pq.ParquetWriter(path, pa.schema([("a", pa.float64())])) as writer:
        for _ in range(3):
            writer.write_table(pa.table({"a": np.random.default_rng(0).random(10_000)}))


def picture(path):
    from matplotlib.figure import Figure

    Figure(figsize=(9, 9)).savefig(path, format="png", dpi=300)


def archive(path):
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(30_000))


def checkpoint(path):
    with path.open("wb") as file:
        torch.save({"a": torch.zeros(30_000)}, file)


def folder(path):
    path.mkdir()
    (path / "large").write_bytes(bytes(30_000))


WRITERS = {
    "bytes": lambda path: path.write_bytes(bytes(30_000)),
    "text": lambda path: path.write_text("x" * 30_000),
    "parquet": parquet,
    "picture": picture,
    "archive": archive,
    "checkpoint": checkpoint,
    "safetensors": lambda path: save_file({"a": torch.zeros(30_000)}, path),
    "folder": folder,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_write_that_fails_names_the_file_and_leaves_nothing(tmp_path, writer, file_size_limit):
    path = tmp_path / "figures"
    path.write_text("old")
    with file_size_limit(4096), pytest.raises(WriteError) as caught, replacing(path) as temporary:
        WRITERS[writer](temporary)
    assert str(caught.value).startswith(f"cannot write {path}: File too large; raise the limit on file sizes")
    assert names(tmp_path) == ["figures"] and path.read_text() == "old"


@pytest.mark.parametrize("number", [28, 30, 122])
def test_a_full_or_read_only_disk_says_so(tmp_path, number):
    with pytest.raises(WriteError) as caught, replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(f"cannot write {tmp_path / 'a'}: {os.strerror(number)}; ")
    assert names(tmp_path) == []


def test_a_disk_that_is_full_only_when_the_content_is_due_says_so_too(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(atomic, "_sync", full)
    with pytest.raises(WriteError, match=r"cannot write .*a: No space left on device; make room"):
        write_text(tmp_path / "a", "x")
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=f"cannot write {tmp_path / 'file' / 'a'}: "):
        write_text(tmp_path / "file" / "a", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match=f"cannot write {tmp_path / 'folder'}: Is a directory"):
        write_text(tmp_path / "folder", "x")


def test_a_failure_deep_in_a_folder_names_the_final_place(tmp_path):
    with (
        pytest.raises(WriteError) as caught,
        replacing(tmp_path / "codec") as temporary,
        replacing(temporary / "config.json"),
    ):
        raise OSError(28, os.strerror(28))
    assert caught.value.path == tmp_path / "codec" / "config.json"
    assert str(caught.value).startswith(f"cannot write {tmp_path / 'codec' / 'config.json'}: No space left")


def test_errors_about_something_else_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), replacing(tmp_path / "a"):
        (tmp_path / "elsewhere").read_text()
    with pytest.raises(DataError, match="damaged"), replacing(tmp_path / "a"):
        raise DataError("damaged") from OSError(28, "No space left on device")
    with pytest.raises(ConnectionResetError), write_errors(tmp_path / "a"):
        raise ConnectionResetError(104, "Connection reset by peer")


def test_it_is_an_error_of_ours_and_of_the_system(tmp_path):
    assert issubclass(WriteError, LaMoFCBenchError) and issubclass(WriteError, OSError)
    error = WriteError(tmp_path, "full")
    assert (str(error), error.path, error.reason) == (f"cannot write {tmp_path}: full", tmp_path, "full")


def test_what_a_writer_moved_aside_comes_back_when_it_fails(tmp_path, monkeypatch):
    with replacing(tmp_path / "codec") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("old")
    rename = Path.rename

    def fail(self, to):
        if self.name.startswith(".") and "half" in names(self):
            raise OSError(28, os.strerror(28))
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(WriteError), replacing(tmp_path / "codec") as temporary:
        temporary.mkdir()
        (temporary / "half").write_text("new")
    assert names(tmp_path) == ["codec"] and names(tmp_path / "codec") == ["a"]
