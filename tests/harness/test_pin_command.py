"""`lamofcbench pin` writes the Hub's commits where runs and builds read them."""

from __future__ import annotations

import json

import pytest

from harness.cli import main
from lamofcbench import pins

FALCON, CANNY = "tiiuae/falcon-mamba-7b-instruct", "stabilityai/stable-diffusion-3.5-large-controlnet-canny"
ONE, TWO = "1" * 40, "2" * 40


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMOFCBENCH_PINS", str(tmp_path / "pins.json"))
    return tmp_path / "pins.json"


def test_open_repositories_are_pinned_and_declared_ones_told(file, monkeypatch, capsys):
    monkeypatch.setattr(pins, "current_commit", lambda repo, revision, file: ONE)
    assert main(["pin", "clu-gsm8k-mamba,clu-hellaswag-mamba", "ctti-coco-canny", "mini-cvu-digits"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(file.read_text()) == {FALCON: ONE, CANNY: ONE}
    large = "stabilityai/stable-diffusion-3.5-large ceddf0a7fdf2064ea28e2213e3b84e4afa170a0f"
    assert out.splitlines() == [f"{FALCON} {ONE}", large, f"{CANNY} {ONE}"]
    assert "is pinned by the declaration of ctti-coco-canny" in err
    assert "mini-cvu-digits reads no model from the Hub" in err
    monkeypatch.setattr(pins, "current_commit", lambda repo, revision, file: TWO)
    assert main(["pin", "clu-gsm8k-mamba"]) == 0
    assert f", which had {ONE}" in capsys.readouterr().err
    assert json.loads(file.read_text()) == {FALCON: TWO, CANNY: ONE}


def test_another_file_and_branch_may_be_named(file, tmp_path, monkeypatch):
    monkeypatch.setattr(pins, "current_commit", lambda repo, revision, file: {"v1": ONE}[revision])
    assert main(["pin", "clu-gsm8k-mamba", "--pins", str(tmp_path / "mine.json"), "--revision", "v1"]) == 0
    assert json.loads((tmp_path / "mine.json").read_text()) == {FALCON: ONE} and not file.exists()


def test_no_network_is_one_clear_line(file, capsys):
    assert main(["pin", "clu-gsm8k-mamba"]) == 1
    err = capsys.readouterr().err
    assert "cannot ask the Hub for the commit of tiiuae/falcon-mamba-7b-instruct" in err and err.count("\n") == 1
    assert not file.exists()
