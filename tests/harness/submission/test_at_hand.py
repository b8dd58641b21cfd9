"""What fails on the validator's own side is no fault of a submission."""

import pytest
import torch

from harness.running.fidelity import Fidelity
from harness.submission.at_hand import OwnScenario
from harness.submission.manifest import SubmissionError
from lamofcbench.errors import DataError, VerificationError, WriteError
from lamofcbench.storage.reader import SplitReader


def raising(error):
    def fail(*args, **options):
        raise error

    return fail


def test_a_model_that_cannot_be_had_leaves_a_submission_consistent(packed, verdict_on, monkeypatch):
    monkeypatch.setattr(OwnScenario, "model", property(raising(DataError("429 Too Many Requests"))))
    verdict = verdict_on(packed)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    assert any("429 Too Many Requests" in check.left_out for check in verdict.checked)


@pytest.mark.parametrize("name", ["features", "reference"])
def test_a_sample_that_cannot_be_read_here_ends_validation(packed, verdict_on, monkeypatch, name):
    monkeypatch.setattr(SplitReader, name, raising(DataError("shard 3: 503 Service Unavailable")))
    with pytest.raises(SubmissionError, match=r"cannot be validated here: .* test split cannot be read here: shard 3"):
        verdict_on(packed)


def test_a_process_that_does_not_start_ends_validation(packed, decodes_here, verdict_on):
    decoder = decodes_here()
    decoder.ready = raising(VerificationError("it has not answered after 300 s"))
    with pytest.raises(SubmissionError, match="the process that decodes does not start: it has not answered"):
        verdict_on(packed, decoder)


def test_a_full_disk_ends_validation(packed, decodes_here, verdict_on):
    decoder = decodes_here()
    decoder.load = raising(WriteError("/somewhere/codec", "no space left on device"))
    with pytest.raises(SubmissionError, match=r"cannot be validated here: .*no space left"):
        verdict_on(packed, decoder)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_tail_that_does_not_fit_into_this_machine_ends_validation(packed, verdict_on, monkeypatch, error):
    monkeypatch.setattr(Fidelity, "tail", raising(error))
    monkeypatch.setattr(OwnScenario, "fidelity", Fidelity(None))
    with pytest.raises(SubmissionError, match=r"cannot be validated here: the tail of .* more memory"):
        verdict_on(packed)
