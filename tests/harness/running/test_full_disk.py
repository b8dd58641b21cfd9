"""Writing that fails: one line names the file, nothing half-written stays, and the next run goes on."""

import gc
import re
from pathlib import Path

import pytest

from harness.cli import main
from harness.report.render import markdown
from harness.results.store import ResultFolder
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.errors import WriteError


@pytest.fixture
def command(toy_file, toy_data, tmp_path):
    results = str(tmp_path / "results")
    return [
        "run",
        "--scenarios",
        toy_file,
        "--data",
        str(toy_data),
        "--results",
        results,
        "--codecs",
        "mean",
        "--quiet",
        "--verify-samples",  # the process that decodes apart would start under the limit of this one
        "0",
    ]


def temporary_files(folder):
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def the_file_named(stderr):
    found = re.fullmatch(r"lamofcbench: cannot write (\S+): File too large; raise the limit .*\n", stderr)
    assert found, stderr
    return found[1]


# From small to large: what the limit hits first.
LIMITS = {0: "config.json", 800: "codec/config.json", 2000: "journal/0.jsonl", 5000: "journal/0.jsonl"}


@pytest.mark.parametrize("size", LIMITS)
def test_a_run_names_the_file_and_the_next_one_goes_on(
    command, tmp_path, file_size_limit, capsys, toy, make_runner, snapshot, size
):
    with file_size_limit(size):
        assert main(command) == 1
    named = the_file_named(capsys.readouterr().err)
    _scenario, codec, _hash, *name = Path(named).relative_to(tmp_path / "results").parts
    assert (codec, "/".join(name)) == ("identity", LIMITS[size])
    assert temporary_files(tmp_path) == []
    assert main(command) == 0
    make_runner(results=tmp_path / "whole", verify_samples=0).run(make_codecs("mean", toy.specs))
    assert snapshot(tmp_path / "results") == snapshot(tmp_path / "whole")


@pytest.mark.parametrize(("size", "name"), [(1000, "timings.parquet"), (3000, "samples.parquet")])
def test_tables_that_cannot_be_written_leave_the_shorter_ones(
    make_runner, toy, tmp_path, file_size_limit, snapshot, size, name, recwarn
):
    codec = IdentityCodec(toy.specs)
    folder = make_runner(limit=17).run_codec(codec).folder
    before = snapshot(folder)
    with file_size_limit(size), pytest.raises(WriteError) as caught:
        make_runner(limit=18).run_codec(codec)
    assert str(caught.value).startswith(f"cannot write {folder / name}: File too large")
    after = snapshot(folder)
    del after["config.json"]  # says what the unfinished run was of
    assert after == before  # the report of 17 samples still stands
    assert make_runner(limit=18).run_codec(codec).result.samples == 18
    gc.collect()  # a parquet writer that was not closed would complain
    assert [str(warning.message) for warning in recwarn] == []


def test_a_bitstream_that_cannot_be_written_leaves_no_piece(tmp_path, file_size_limit):
    folder = ResultFolder(tmp_path)
    (tmp_path / "bitstreams").mkdir()
    with file_size_limit(100), pytest.raises(WriteError, match=r"cannot write .*bitstreams/3\.bin: File too large"):
        folder.write_bitstream(3, bytes(1000))
    assert list((tmp_path / "bitstreams").iterdir()) == []


@pytest.mark.parametrize(("size", "name"), [(2000, "curves-toy-directions.png"), (60_000, "report.md")])
def test_a_report_names_the_picture_and_leaves_no_piece(
    make_runner, tmp_path, toy_file, file_size_limit, capsys, monkeypatch, size, name
):
    make_runner().run([])
    monkeypatch.setattr(markdown, "render", lambda *_: "x" * 100_000)
    arguments = ["report", "--results", str(tmp_path / "results"), "--scenarios", toy_file, "--bootstrap", "0"]
    with file_size_limit(size):
        assert main([*arguments, "--no-bound", "--quiet"]) == 1
    assert the_file_named(capsys.readouterr().err) == str(tmp_path / "results" / "report" / name)
    assert temporary_files(tmp_path) == []


def test_encoded_bytes_and_decoded_features(toy_file, toy_data, tmp_path, file_size_limit, capsys):
    coded, features = tmp_path / "coded", tmp_path / "features.safetensors"
    encode = ["encode", toy_file, "--codec", "identity", "--data", str(toy_data), "--output", str(coded)]
    decode = ["decode", str(coded), "--output", str(features)]
    assert main(encode) == 0
    for command, output in ((encode, coded), (decode, features)):
        with file_size_limit(20):
            assert main(command) == 1
        assert the_file_named(capsys.readouterr().err) == str(output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coded", "coded.codec"]
    assert main(decode) == 0


def test_a_folder_that_holds_something_else_is_not_replaced_by_a_codec(toy_file, toy_data, tmp_path, capsys):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("three years")
    encode = ["encode", toy_file, "--codec", "identity", "--data", str(toy_data), "--output", str(tmp_path / "coded")]
    assert main([*encode, "--save-codec", str(tmp_path / "thesis")]) == 1
    assert "holds no saved codec" in capsys.readouterr().err
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "three years"
