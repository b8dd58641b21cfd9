"""What a codec has learned is learned anew where it can be, the sensitivity of the tail included; else that is said."""

import shutil

import pytest
from doctoring import Doctored, edit_json

from harness.running import sensitivity
from harness.submission import refit
from harness.submission.pack import Author, pack
from harness.submission.refit import WHAT
from lamofcbench.codecs.klt_task import KltTaskCodec
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.storage import calibration, open_split


@pytest.fixture
def packed_task(make_runner, responding, responding_data, tmp_path):
    """Makes the submission of a codec that learns from the tail."""

    def made():
        runner = make_runner(responding, data=responding_data)
        runner.run([KltTaskCodec(responding.specs, {"step": 1.0})])
        return pack(runner.settings.results, tmp_path / "packed", Author(), "klt-task")

    return made


@pytest.fixture
def verdict_on_task(verdict_on, responding, responding_data):
    return lambda folder, **closer: verdict_on(folder, scenarios=(responding,), data=responding_data, **closer)


def states(verdict):
    (check,) = [check for check in verdict.checked if check.what == WHAT]
    return check.checked, check.of, check.left_out


def test_what_was_learned_from_the_tail_is_learned_anew_with_full(packed_task, verdict_on_task):
    folder = packed_task()
    verdict = verdict_on_task(folder, full=True)
    assert (verdict.level, verdict.faults, states(verdict)) == ("verified", [], (2, 2, ""))
    assert states(verdict_on_task(folder)) == (1, 2, "")


def test_a_state_that_the_test_split_gave_is_found(packed_task, verdict_on_task, monkeypatch):
    with monkeypatch.context() as cheating:
        for module in (calibration, sensitivity):
            cheating.setattr(module, "open_split", lambda scenario, _, data=None: open_split(scenario, "test", data))
        folder = packed_task()
    verdict = verdict_on_task(folder, full=True)
    assert verdict.level == "refused"
    assert any("is not what klt-task learns from the calibration split" in fault.fault for fault in verdict.faults)


LEARNING = """
import torch

from lamofcbench.codecs.zstd import ZstdCodec

class Learning(ZstdCodec):
    name = "learning"
    needs_calibration = True

    def learn(self, calibration):
        return {"count": torch.tensor(float(len(list(calibration))))}
"""


def test_what_a_codecs_own_source_has_learned_leaves_it_consistent(run_results, toy, make_runner, verdict_on, tmp_path):
    (tmp_path / "learning.py").write_text(LEARNING)
    results = shutil.copytree(run_results, tmp_path / "results")
    make_runner(results=results).run_codec(*make_codecs(f"{tmp_path / 'learning.py'}:Learning", toy.specs))
    verdict = verdict_on(pack(results, tmp_path / "packed", Author(), "learning"), trust_code=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    assert states(verdict) == (1, 2, "what a codec's own source has learned is not learned anew")


def of_other_data(submission, toy):
    for number in range(2):
        Doctored(submission, toy, number=number).result(lambda result: result["codec"].update(trained_on="other data"))
    edit_json(submission / "submission.json", lambda manifest: manifest.update(knowledge="other data"))


def test_what_comes_out_the_same_is_fitted_anew_whatever_else_it_is_said_to_know(submission, toy, verdict_on):
    of_other_data(submission, toy)
    verdict = verdict_on(submission, full=True)
    assert (verdict.level, verdict.faults) == ("verified", []) and states(verdict) == (3, 3, "")


def test_other_data_cannot_be_learned_from_anew(submission, toy, verdict_on, monkeypatch):
    of_other_data(submission, toy)
    monkeypatch.setattr(refit, "_same_state", lambda learned, path: "/mean/" in path.as_posix())
    verdict = verdict_on(submission, full=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    assert states(verdict) == (1, 3, "what was learned from other data cannot be learned anew")
