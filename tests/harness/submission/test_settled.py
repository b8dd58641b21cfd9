"""Who validates several submissions looks at the anchor and floor that they share once, and at everything else anew."""

import dataclasses
import shutil

import pytest
from doctoring import edit_json

from harness.submission import validate as validate_module
from harness.submission.pack import pack
from harness.submission.settled import Settled
from harness.submission.validate import Scrutiny, validate


@pytest.fixture
def replayed(monkeypatch):
    """The names of the codecs whose results are decoded, in sorted order; empties with `clear`."""
    names = []

    class Watched(validate_module.Replay):
        def run(self):
            names.append(self.claim.result.codec.name)
            names.sort()
            super().run()

    monkeypatch.setattr(validate_module, "Replay", Watched)
    return names


@pytest.fixture
def look(toy, toy_data):
    return Scrutiny(data=toy_data, scenarios=[toy], full=True, seed=1)


def test_anchor_and_floor_are_looked_at_once_and_counted_every_time(packed, decoder, look, replayed):
    settled = Settled()
    first = validate(packed, look, decoder, settled=settled)
    assert replayed == ["identity", "mean", "uniform", "uniform"]
    replayed.clear()
    second = validate(packed, dataclasses.replace(look, seed=2), decoder, settled=settled)
    assert replayed == ["uniform", "uniform"]
    assert (first.level, first.checked, first.replayed) == ("verified", second.checked, second.replayed)


def test_without_being_told_of_others_it_looks_at_all(packed, decoder, look, replayed):
    for _ in range(2):
        validate(packed, look, decoder)
    assert replayed.count("identity") == 2


def test_another_file_of_it_or_another_look_is_another_result(packed, submission, decoder, look, replayed):
    settled = Settled()
    validate(packed, look, decoder, settled=settled)
    replayed.clear()
    validate(packed, dataclasses.replace(look, full=False), decoder, settled=settled)
    assert replayed == ["identity", "mean", "uniform", "uniform"]
    replayed.clear()
    [run] = submission.glob("results/*/identity/*/run.json")
    run.write_text(run.read_text() + "\n")
    assert validate(submission, look, decoder, settled=settled).level == "verified"
    assert replayed == ["identity", "uniform", "uniform"]


def test_what_was_settled_where_bitstreams_are_whole_is_not_where_they_are_said_to_be_sampled(
    run_results, author, packed, decoder, look, tmp_path
):
    mixed = pack(run_results, tmp_path, author, sampled=True)
    for whole in (folder for name in ("identity", "mean") for folder in packed.glob(f"results/*/{name}/*")):
        shutil.rmtree(mixed / whole.relative_to(packed))
        shutil.copytree(whole, mixed / whole.relative_to(packed))
    settled = Settled()
    validate(packed, look, decoder, settled=settled)
    verdicts = [validate(mixed, look, decoder), validate(mixed, look, decoder, settled=settled)]
    assert [verdict.level for verdict in verdicts] == ["refused", "refused"]
    assert sorted(map(str, verdicts[0].faults)) == sorted(map(str, verdicts[1].faults))


def test_one_that_is_at_fault_is_at_fault_again(submission, decoder, look):
    [path] = submission.glob("results/*/identity/*/result.json")
    edit_json(path, lambda result: result.update(score=0.123))
    settled = Settled()
    levels = [validate(submission, look, decoder, settled=settled) for _ in range(2)]
    assert [verdict.level for verdict in levels] == ["refused", "refused"]
    assert levels[0].faults == levels[1].faults
