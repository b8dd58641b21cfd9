"""What fails on the validator's own side is no fault of a submission."""

import pytest
import torch

from harness.running.fidelity import Fidelity
from harness.running.settings import RunSettings
from harness.submission import at_hand
from harness.submission.at_hand import OwnScenario
from harness.submission.manifest import SubmissionError
from lamofcbench.digests import digest
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


def test_samples_are_read_once_as_far_as_there_is_room(toy, toy_data, tmp_path, monkeypatch):
    opened = OwnScenario(toy, RunSettings(results=tmp_path, data=toy_data))
    monkeypatch.setattr(at_hand, "KEPT_BYTES", opened.test.features(0).raw_bits // 8)
    split = OwnScenario(toy, opened.settings).test
    assert split.features(0) is split.features(0)
    again = split.features(1)
    assert split.features(1) is not again and digest(split.features(1)) == digest(again)
