"""`lamofcbench check`: what holds and what does not, with the author's own traceback."""

import itertools
import textwrap

import pytest

from harness.cli import main

CODEC = textwrap.dedent(
    """
    import zlib

    import numpy as np
    import torch

    from lamofcbench.codecs.base import Codec


    class Plain(Codec):
        def encode_tensor(self, spec, tensor):
            return zlib.compress(tensor.float().numpy().tobytes())

        def decode_tensor(self, spec, payload, shape):
            return torch.tensor(np.frombuffer(zlib.decompress(payload), np.float32).reshape(shape))


    class Forgetful(Plain):
        def decode_tensor(self, spec, payload, shape):
            return self.remember(payload)

        def remember(self, payload):
            raise KeyError("what was it")
    """
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(CODEC)
    return path


def test_a_sound_codec_holds_case_by_case(file, capsys):
    assert main(["check", f"{file}:Plain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}:Plain"
    assert lines[-1] == "holds"
    assert len(lines) > 10
    assert all(line.startswith("  holds  ") for line in lines[1:-1])


def test_a_broken_one_is_told_with_its_own_traceback_and_the_other_cases_run_all_the_same(file, capsys):
    assert main(["check", f"{file}:Forgetful"]) == 1
    out = capsys.readouterr().out
    assert "FAILS  Names, order, dtypes" in out
    assert "KeyError: 'what was it'" in out
    assert "in remember" in out
    assert "returned.py" not in out
    assert "  holds  " in out
    lines = out.splitlines()
    assert lines[-1] == f"{file}:Forgetful: does not hold"
    reasons = [reason for line, reason in itertools.pairwise(lines) if line.startswith("  FAILS")]
    assert len(reasons) >= 4 and all("features of" in reason or "tensors of" in reason for reason in reasons)
    assert out.count("in remember") == 1  # one mistake has one traceback, however many cases it fails
    assert "the same lines of the codec as above" in out


def test_the_ends_and_the_middle_of_a_ladder_stand_for_a_codec_without_parameters(file, capsys, monkeypatch):
    from lamofcbench.codecs import conformance

    monkeypatch.setattr(conformance, "cases", lambda *_: [])
    assert main(["check", "uniform", "kivi:bits=4"]) == 0
    labels = capsys.readouterr().out.splitlines()[:-1]
    assert labels == ["uniform:step=0.05", "uniform:step=2.0", "uniform:step=8.0", "kivi:bits=4"]


@pytest.mark.parametrize("spec", ["uniforn", "uniform:stp=1", "./absent.py:Mine"])
def test_what_cannot_be_checked_is_one_line(spec, capsys):
    assert main(["check", spec]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
