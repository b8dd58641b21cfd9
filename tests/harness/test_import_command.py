"""`lamofcbench import` from the command line."""

from __future__ import annotations

import io

import pytest
import torch
import zstandard

from harness.cli import main


def downloaded(folder, first):
    """A folder of two files, as published; the values in them begin with a number."""
    folder.mkdir(parents=True)
    for number, wnid in enumerate(("n01440764", "n01443537")):
        buffer, values = io.BytesIO(), torch.full((1, 2, 4096), float(first + number))
        torch.save({f"backbone.blocks.{block}": [values] for block in (9, 39)}, buffer)
        (folder / f"{wnid}-image{number}.zst").write_bytes(zstandard.compress(buffer.getvalue()))
    return folder


@pytest.fixture
def source(tmp_path):
    return downloaded(tmp_path / "download" / "imagenet1k-val", 1)


def test_a_download_becomes_data_that_other_commands_read(source, tmp_path, capsys):
    out = tmp_path / "features"
    arguments = ["import", "cvu-imagenet-val", "--source", str(source.parent), "--output", str(out)]
    calibration = downloaded(tmp_path / "calibration", 3)
    assert main([*arguments, "--calibration", str(calibration), "--num-processes", "2"]) == 0
    printed, told = capsys.readouterr()
    assert printed == f"{out / 'cvu-imagenet-val'}\n" and "2 test samples were imported; the scenario" in told
    assert main(["stats", "cvu-imagenet-val", "--data", str(out), "--split", "test"]) == 0
    assert "block.39" in capsys.readouterr().out


def test_a_file_that_cannot_be_imported_ends_it_or_is_left_out(source, tmp_path, capsys):
    (source / "n01440764-image0.zst").write_bytes(b"")
    arguments = ["import", "cvu-imagenet-val", "--source", str(source), "--output", str(tmp_path / "features")]
    assert main(arguments) == 1
    assert "n01440764-image0.zst: is empty" in capsys.readouterr().err
    assert main([*arguments, "--on-error", "skip"]) == 0
    assert "n01440764-image0.zst: is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cvu-imagenet-val", "--source", "nowhere"], "there is no folder nowhere"),
        (["full", "--source", "."], "means several scenarios"),
        (["mini-cvu-digits", "--source", "."], "not a scenario of the full edition"),
        (["cvu-imagenet-val", "--source", ".", "--num-processes", "0"], "at least 1"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["import", *arguments, "--output", "out"]) == 1
    assert message in capsys.readouterr().err
