"""New samples tell a codec that knows the test split from one that does not."""

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from harness.submission.fresh import fresh_split
from harness.submission.pack import Author, pack
from harness.submission.validate import validate
from lamofcbench.builders import BUILDERS
from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import DataError, VerificationError
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split

HERE = Path(__file__).parent


@pytest.fixture
def cheat(run_results, toy, toy_data, make_runner, tmp_path):
    """A submission of a cheating codec."""

    def submitted(sends, codec=f"{HERE / 'cheating.py'}:CheatingCodec"):
        results = shutil.copytree(run_results, tmp_path / "results", dirs_exist_ok=True)
        test = open_split(toy, "test", toy_data)
        known = [test.features(at) for at in range(len(test))]
        codec = CODECS.get(codec).knowing(toy.specs, {"sends": sends}, known)
        make_runner(results=results).run_codec(codec)
        return pack(results, tmp_path / "packed", Author(), codec.name)

    return submitted


def test_new_samples_are_of_neither_split_and_follow_from_the_seed(make_runner, toy):
    runner = make_runner()
    split = fresh_split(runner, 3)
    builder = BUILDERS.get(toy.builder, relative_to=toy.origin)()
    known = {builder.content_hash(sample) for part in ("test", "calibration") for sample in builder.samples(part)}
    again = [builder.content_hash(sample) for sample in islice(builder.fresh_samples(3), len(split))]
    assert len(split) == 22 and not known & set(again)
    assert again != [builder.content_hash(sample) for sample in islice(builder.fresh_samples(4), len(split))]
    assert [split.reference(at) for at in range(4)] == [0, 1, 2, 3]


def test_an_honest_codec_does_as_well_on_new_samples(packed, verdict_on):
    verdict = verdict_on(packed, fresh=3)
    assert (verdict.level, verdict.faults) == ("verified", [])
    assert {check.what: check.checked for check in verdict.checked}["results held against new samples"] == 4


def test_who_asks_for_new_samples_of_collected_data_is_told_that_there_are_none(packed, scrutiny, monkeypatch):
    def none_left(opened, seed):
        raise DataError("its raw data were collected once")

    monkeypatch.setattr("harness.submission.validate.fresh_split", none_left)
    told: list[str] = []
    verdict = validate(packed, replace(scrutiny, fresh=3), tell=told.append)
    assert "toy-directions@1 has no new samples: its raw data were collected once" in told
    assert {check.what: (check.checked, check.of) for check in verdict.checked}["scenarios with new samples"] == (0, 1)
    assert verdict.level == "verified"


@pytest.mark.parametrize(("sends", "what"), [(True, "EBPFP; 22 new samples take"), (False, "22 new samples reach")])
def test_a_state_that_knows_the_test_split_is_found(cheat, verdict_on, sends, what):
    folder = cheat(sends)
    assert verdict_on(folder, trust_code=True, full=True).faults == []  # all that was scored is as it was submitted
    verdict = verdict_on(folder, trust_code=True, fresh=3)
    (fault,) = verdict.faults
    assert verdict.level == "refused" and what in fault.fault and "knows the test split" in fault.fault
    assert fault.file.startswith("results/toy-directions@1/cheating/")


def test_a_codec_that_remembers_what_it_encoded_is_found_too(cheat, verdict_on, decoder):
    folder = cheat(True, f"{HERE / 'stashing.py'}:StashingCodec")
    verdict = verdict_on(folder, decoder, trust_code=True, fresh=3)
    assert verdict.level == "refused"
    assert any("its codec fails on new samples" in fault.fault for fault in verdict.faults)


def test_no_codec_excuses_itself_by_a_lack_of_memory(packed, verdict_on, monkeypatch):
    def excusing(*arguments):
        raise VerificationError("it answers with what are no features") from KeyError("DefaultCPUAllocator")

    monkeypatch.setattr("harness.submission.fresh.decoded_apart", excusing)
    verdict = verdict_on(packed, fresh=3)
    assert verdict.level == "refused"
    assert any("its codec fails on new samples" in fault.fault for fault in verdict.faults)


DRAWN = ("mini-cvu-scenes", "mini-cvu-depth", "mini-clu-arithmetic", "mini-clu-facts", "mini-clu-pronouns")


@pytest.mark.parametrize("name", DRAWN)
def test_the_generators_of_the_mini_edition_draw_further_samples(name):
    builder = BUILDERS.get(SCENARIOS.get(name).builder)()
    fresh = [builder.content_hash(sample) for sample in islice(builder.fresh_samples(1), 24)]
    known = {builder.content_hash(sample) for part in ("test", "calibration") for sample in builder.samples(part)}
    assert len(set(fresh) - known) > 16
    assert fresh == [builder.content_hash(sample) for sample in islice(builder.fresh_samples(1), 24)]


@pytest.mark.parametrize("name", ["mini-cau-commands-clean", "mini-cvu-digits-hard"])
def test_what_was_collected_once_has_no_further_samples(name):
    with pytest.raises(DataError, match="its raw data were collected once"):
        next(BUILDERS.get(SCENARIOS.get(name).builder)().fresh_samples(1))
