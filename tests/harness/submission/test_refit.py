"""What a codec has learned is learned anew where it can be, the sensitivity of the tail included; else that is said."""

import shutil

import pytest
import torch
from doctoring import Doctored, edit_json

from harness.running import sensitivity
from harness.submission import refit
from harness.submission import validate as validate_module
from harness.submission.pack import Author, pack
from harness.submission.refit import WHAT
from lamofcbench.codecs.klt_task import KltTaskCodec
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.errors import VerificationError
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


def test_a_shipped_codec_learns_where_what_its_parameters_ask_for_has_limits(packed, verdict_on, decodes_here):
    class Grown(decodes_here):
        def fit(self, *arguments, **options):
            raise VerificationError("MemoryError: no room for a table of 2**60 entries")

    verdict = verdict_on(packed, Grown(), full=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    assert states(verdict)[:2] == (0, 3) and "no room for a table" in states(verdict)[2]


# ------------------------------------------------------------------------------------------- a codec's own source

LEARNING = """
import torch

from lamofcbench.codecs.zstd import ZstdCodec

class Learning(ZstdCodec):
    name = "learning"
    needs_calibration = True

    def learn(self, calibration):
        total = sum(tensor.double().sum() for one in calibration for tensor in one.tensors.values())
        return {"sum": total.float(), "drawn": torch.rand(4)}
"""
UNSTEADY = LEARNING.replace("torch.rand(4)", "torch.tensor(list(__import__('os').urandom(8)))")
FROM_THE_TAIL = LEARNING.replace("needs_calibration = True", "needs_calibration = needs_sensitivity = True").replace(
    "torch.rand(4)", "torch.tensor(calibration.sensitivity.mean_weight)"
)


@pytest.fixture
def packed_learning(run_results, toy, make_runner, tmp_path):
    """Makes the submission of a codec with its own source, which learns."""

    def made(source=LEARNING):
        file = tmp_path / "learning.py"
        file.write_text(source)
        results = shutil.copytree(run_results, tmp_path / "results")
        make_runner(results=results).run_codec(*make_codecs(f"{file}:Learning", toy.specs))
        return pack(results, tmp_path / "packed", Author(), "learning")

    return made


@pytest.fixture
def _confined(monkeypatch):
    """Whatever this machine lets nobody have, it is not what these tests are about."""
    for what in ("unconfined", "shares_disk"):
        monkeypatch.setattr(validate_module, what, lambda: "")


@pytest.mark.usefixtures("_confined")
def test_what_a_codecs_own_source_has_learned_is_learned_anew_apart(packed_learning, verdict_on, decoder):
    folder = packed_learning()
    verdict = verdict_on(folder, decoder, trust_code=True, full=True)
    assert (verdict.level, verdict.faults, states(verdict)) == ("verified", [], (2, 2, ""))
    assert states(verdict_on(folder, trust_code=True)) == (1, 2, "")


@pytest.mark.usefixtures("_confined")
def test_a_state_that_an_own_source_did_not_learn_is_found(packed_learning, verdict_on, monkeypatch):
    with monkeypatch.context() as cheating:
        cheating.setattr(calibration, "open_split", lambda scenario, _, data=None: open_split(scenario, "test", data))
        folder = packed_learning()
    assert verdict_on(folder, trust_code=True).level == "verified"  # which looks at no state but the floor's
    verdict = verdict_on(folder, trust_code=True, full=True)
    assert verdict.level == "refused"
    assert any("is not what learning learns from the calibration split" in fault.fault for fault in verdict.faults)


@pytest.mark.usefixtures("_confined")
def test_a_large_value_lets_no_other_of_its_tensor_be_anything(packed_learning, verdict_on, monkeypatch):
    source = LEARNING.replace("total.float()", "torch.tensor([1e30, total])")
    with monkeypatch.context() as cheating:
        cheating.setattr(calibration, "open_split", lambda scenario, _, data=None: open_split(scenario, "test", data))
        folder = packed_learning(source)
    verdict = verdict_on(folder, trust_code=True, full=True)
    assert verdict.level == "refused"
    assert any("is not what learning learns from the calibration split" in fault.fault for fault in verdict.faults)


@pytest.mark.usefixtures("_confined")
def test_what_comes_out_otherwise_each_time_leaves_an_own_source_consistent(packed_learning, verdict_on):
    verdict = verdict_on(packed_learning(UNSTEADY), trust_code=True, full=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    assert states(verdict) == (1, 2, refit.NOT_THE_SAME_TWICE)


@pytest.mark.usefixtures("_confined")
def test_an_own_source_that_cannot_learn_here_is_consistent_and_says_why(packed_learning, verdict_on, monkeypatch):
    fit = validate_module.DecodingProcess.fit

    def fails(*arguments, afresh, **options):
        if afresh:
            raise VerificationError("it has not answered after 1 s")
        return fit(*arguments, afresh=afresh, **options)

    monkeypatch.setattr(validate_module.DecodingProcess, "fit", fails)
    verdict = verdict_on(packed_learning(), trust_code=True, full=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    assert states(verdict) == (1, 2, "learning cannot be fitted here: it has not answered after 1 s")


@pytest.mark.usefixtures("_confined")
def test_an_own_source_gets_the_sensitivity_of_this_machines_tail(
    make_runner, responding, responding_data, verdict_on_task, decoder, tmp_path
):
    file = tmp_path / "learning.py"
    file.write_text(FROM_THE_TAIL)
    runner = make_runner(responding, data=responding_data)
    runner.run(make_codecs(f"{file}:Learning", responding.specs))
    folder = pack(runner.settings.results, tmp_path / "packed", Author(), "learning")
    verdict = verdict_on_task(folder, decoder=decoder, trust_code=True, full=True)
    assert (verdict.level, verdict.faults, states(verdict)) == ("verified", [], (2, 2, ""))


# ------------------------------------------------------------------------------------------- when states are the same


def test_states_that_differ_by_rounding_leave_a_submission_consistent(packed, verdict_on, monkeypatch):
    fitted = refit._fitted

    def rounded(*arguments, **options):
        return {name: tensor * (1 + 1e-5) for name, tensor in fitted(*arguments, **options).items()}

    monkeypatch.setattr(refit, "_fitted", rounded)
    verdict = verdict_on(packed)
    assert (verdict.level, verdict.faults, states(verdict)) == ("consistent", [], (1, 3, refit.ROUNDED))


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("learned", "saved", "same"),
    [
        ([1.0, 2.0, 0.0], [1.0, 2.0001, 0.0], True),
        ([1.0, 2.0, 0.0], [1.0, 2.0, 0.1], False),
        ([1e30, 1.0, 2.0], [1e30, 2.0, 1.0], False),
        ([NAN, 1.0], [NAN, 1.0], True),
        ([NAN, 1.0], [NAN, 2.0], False),
        ([INFINITE, 1.0, 1.0], [INFINITE, 2.0, 1.0], False),
        ([1 + 2j], [1 + 5j], False),
        ([2**62, 1], [2**62, 2], False),
        ([True], [False], False),
        ([], [], True),
    ],
)
def test_no_value_makes_others_the_same(learned, saved, same, monkeypatch):
    monkeypatch.setattr(refit, "PIECE", 2)
    assert refit._same_state({"a": torch.tensor(learned)}, {"a": torch.tensor(saved)}) is same


# ------------------------------------------------------------------------------------------------------- other data


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
    monkeypatch.setattr(refit, "_same_state", lambda learned, saved: "steps" not in saved)
    verdict = verdict_on(submission, full=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    assert states(verdict) == (1, 3, "what was learned from other data cannot be learned anew")
