"""What a codec author does all day: edit the file, run other parameters into the same folder, look at the report."""

import shutil
from dataclasses import dataclass

import pytest

from harness import cli, evaluate
from harness.report.compile import compile_summary
from harness.report.summary import CodecSummary, Summary
from harness.results.store import find_results
from lamofcbench.codecs.identity import IdentityCodec

CODEC = """
from dataclasses import dataclass
import torch
from lamofcbench.codecs.base import Codec

class UniformCodec(Codec):
    @dataclass(frozen=True)
    class Params:
        step: float = 1.0

    def encode_tensor(self, spec, tensor):
        indices = (tensor.float() / self.params.step).round().clamp(-127, 127).to(torch.int8)
        return indices.numpy().tobytes() * {repeats}

    def decode_tensor(self, spec, payload, shape):
        indices = torch.frombuffer(bytearray(payload), dtype=torch.int8)[: len(payload) // {repeats}]
        return indices.reshape(shape).float() * self.params.step
"""


@dataclass(frozen=True)
class Level:
    """Parameters that change nothing but the name of the result."""

    level: int = 1


@pytest.fixture
def author(tmp_path, toy, toy_file, toy_data):
    """Writes a version of the codec, runs it and reports."""

    class Author:
        file = tmp_path / "my_codec.py"
        results = tmp_path / "results"

        def write(self, repeats: int) -> None:
            self.file.write_text(CODEC.format(repeats=repeats))

        def run(self, *codecs: str) -> None:
            arguments = ["--scenarios", toy_file, "--data", str(toy_data), "--results", str(self.results), "--quiet"]
            assert cli.main(["run", "--codecs", *codecs, *arguments]) == 0

        def mine(self, step: float) -> str:
            return f"{self.file}:UniformCodec:step={step}"

        def report(self) -> Summary:
            return compile_summary(self.results, resamples=0, bound=False, scenarios=[toy])

    return Author()


def _codecs(summary: Summary) -> dict[str, CodecSummary]:
    return {codec.codec: codec for codec in summary.scenarios[0].codecs}


def _steps(codec: CodecSummary) -> list[float]:
    return sorted(point.params["step"] for point in codec.points)


def test_an_edited_file_is_reported_by_its_newest_code_alone(author):
    author.write(repeats=1)
    author.run(author.mine(0.25), author.mine(1.0))
    before = _codecs(author.report())["uniform"]
    author.write(repeats=3)
    author.run(author.mine(0.5))
    summary = author.report()
    after = _codecs(summary)["uniform"]
    assert _steps(after) == [0.5]
    assert after.identity != before.identity
    assert after.retained[0].ebpfp.value > 2 * before.retained[0].ebpfp.value
    [warning] = summary.warnings
    assert "uniform: left out 2 points of older code on toy-directions" in warning
    assert before.identity in warning
    # The old code again, all of whose results are still there: asking for them is enough.
    author.write(repeats=1)
    author.run(author.mine(0.25), author.mine(1.0))
    again = _codecs(author.report())["uniform"]
    assert (again.identity, _steps(again)) == (before.identity, [0.25, 1.0])


def test_a_users_codec_never_passes_for_the_one_of_this_project(author):
    author.write(repeats=1)
    author.run("uniform:step=0.5", "uniform:step=1", author.mine(0.5), author.mine(1.0))
    summary = author.report()
    assert summary.reference == "uniform"
    codecs = _codecs(summary)
    assert set(codecs) == {"uniform", "uniform (my_codec.py)", "identity", "mean"}
    assert codecs["uniform"].identity.startswith("lamofcbench:uniform@")
    assert codecs["uniform (my_codec.py)"].identity.startswith("file:my_codec.py:UniformCodec#")
    assert _steps(codecs["uniform"]) == _steps(codecs["uniform (my_codec.py)"]) == [0.5, 1.0]


def test_copying_a_results_folder_does_not_change_which_code_is_new(author, tmp_path):
    for repeats, step in ((1, 0.25), (3, 0.5)):
        author.write(repeats)
        author.run(author.mine(step))
    newest = _codecs(author.report())["uniform"]
    assert _steps(newest) == [0.5]
    shutil.copytree(author.results, tmp_path / "copy", copy_function=shutil.copy)
    author.results = tmp_path / "copy"
    for folder in find_results(author.results):
        if folder.read_result().codec.params == {"step": 0.25}:
            (folder.path / "result.json").touch()  # copied last
    assert _codecs(author.report())["uniform"] == newest


def test_a_class_that_was_defined_anew_is_another_codec(author, toy, toy_data):
    """In a notebook, whose code nothing identifies."""
    for level in (1, 2):

        class Mine(IdentityCodec):
            name = "mine"
            Params = Level

        evaluate(Mine(toy.specs, {"level": level}), toy, data=toy_data, results=author.results, progress=False)
    summary = author.report()
    assert [point.params for point in _codecs(summary)["mine"].points] == [{"level": 2}]
    assert "mine: left out 1 point of older code" in summary.warnings[0]
