"""Output goes on where an encoding lacks letters, nobody reads, or nothing is open."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.console import ERRORS, OneLineFormatter, fitting, standard_streams


def _stream(encoding: str, **options) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, **options)


def _python(code: str, *, shell: str = "", **options) -> subprocess.CompletedProcess:
    """Runs code in a process of its own, started by a shell with redirections of the standard streams."""
    command = ["sh", "-c", f'exec "$0" -c "$1" {shell}', sys.executable, code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("ascii", b"<= 3 + \\xe9 \\u4e2d"), ("latin-1", b"<= 3 + \xe9 \\u4e2d")],
)
def test_what_an_encoding_lacks_is_written_in_plain_letters(encoding, expected, monkeypatch):
    stream = _stream(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    with standard_streams():
        print("≤ 3 † é 中", end="", flush=True)
    assert stream.buffer.getvalue() == expected
    assert fitting("≤ 3 † é 中", stream).encode(encoding) == expected
    assert stream.errors == "strict"  # as it was


def test_lines_leave_at_once_where_python_was_told_not_to_buffer(monkeypatch):
    """As containers do; what waited in a buffer would come among the bars that stderr shows."""
    unbuffered = _stream("utf-8", write_through=True)
    monkeypatch.setattr(sys, "stdout", unbuffered)
    monkeypatch.setattr(sys, "__stdout__", unbuffered)
    with standard_streams():
        assert sys.stdout is not unbuffered and sys.stdout.line_buffering


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_bytes_of_a_file_name_go_out_as_they_are(encoding):
    name = os.fsdecode(b"r\xff\xe9s")
    assert name.encode(encoding, ERRORS) == b"r\xff\xe9s"
    assert fitting("é中†", _stream("utf-8")) == "é中†"


def test_a_log_record_is_one_line_that_steers_no_terminal():
    record = logging.LogRecord("lamofcbench", logging.WARNING, "", 0, "%s: damaged", ("a\nb\x1b[2J",), None)
    assert OneLineFormatter("lamofcbench: %(message)s").format(record) == "lamofcbench: a b [2J: damaged"


def test_tables_of_lists_keep_their_columns_in_ascii(monkeypatch):
    from harness.commands._common import print_table

    stream = _stream("ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print_table([("name", "title"), ("≤\n1", "a"), ("b", None)])
    stream.flush()
    assert stream.buffer.getvalue().decode().splitlines() == ["name  title", "<= 1  a", "b"]


def test_an_argument_that_no_library_takes_as_a_path_is_one_clear_line(capsys):
    assert cli.main(["report", "--results", os.fsdecode(b"r\xff\n")]) == cli.EXIT_USAGE
    error = capsys.readouterr().err
    assert "is not UTF-8" in error
    assert len(error.splitlines()) == 1


CLOSED = """
import os, sys
from harness import cli
status = cli.main(["scenarios"])
opened = os.open(os.devnull, os.O_RDONLY)
os.write(int(sys.argv[1]), f"{status} {opened > 2}".encode())
"""


def test_closed_descriptors_are_never_those_of_a_file():
    """What is opened later would get the number of a closed stream, and error messages would land in it."""
    assert _python(CLOSED, shell="2 <&- >&-").stderr == "0 True"
    assert _python(CLOSED, shell="1 <&- 2>&-").stdout.endswith("0 True")


def test_nothing_of_stderr_lands_on_stdout():
    done = _python("from harness import cli; raise SystemExit(cli.main(['scenario']))", shell="2>&-")
    assert (done.stdout, done.returncode) == ("", cli.EXIT_USAGE)


PIPE = """
import os, sys
from harness import cli
reading, writing = os.pipe()
os.dup2(writing, 1)
os.close(reading)
raise SystemExit(cli.main(["scenarios", "--json"]))
"""


def test_a_pipe_that_nobody_reads_is_no_error():
    done = _python(PIPE)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_stdout_is_one_clear_line():
    done = _python("from harness import cli; raise SystemExit(cli.main(['scenarios']))", shell="> /dev/full")
    assert (done.returncode, done.stderr) == (cli.EXIT_ERROR, "lamofcbench: No space left on device\n")
