"""Honest submissions pass, and a verdict says what was looked at."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from doctoring import Doctored, edit_json

from harness.cli import main
from harness.results.schema import schema_text
from harness.running.confinement import shares_disk, unconfined
from harness.submission import bitstreams, replay
from harness.submission import validate as validate_module
from harness.submission.bitstreams import BITSTREAMS_FILE, Bitstreams
from harness.submission.manifest import SubmissionError, submission_digest
from harness.submission.pack import Author, pack
from harness.submission.schema import SCHEMAS
from harness.submission.verdict import write_verdict
from lamofcbench.codecs.registry import make_codecs

AUTHOR = Author(name="sampled", display_name="Sampled")


def test_an_honest_submission_is_verified_to_its_last_bit(packed, verdict_on, decoder):
    verdict = verdict_on(packed, decoder, full=True)
    assert (verdict.level, verdict.faults) == ("verified", [])
    assert all(check.checked == check.of and not check.left_out for check in verdict.checked)
    assert {check.what: check.checked for check in verdict.checked} == {
        "files of the layout": 33,
        "files read and hashed": 32,
        "rate points of the declared ladders": 2,
        "scenarios with data at hand": 1,
        "results of this version's scenarios, data and code": 4,
        "samples held against the test split": 88,
        "bitstreams recounted": 88,
        "predictions scored anew": 88,
        "results with all figures computed anew": 4,
        "codecs loaded in another process": 4,
        "samples decoded anew": 88,
        "of these, decoded to the very bits that were scored": 88,
        "predictions made anew by the tail": 88,
        "samples encoded anew": 88,
        "of these, to the very bytes": 88,
        "learned states fitted anew": 3,
        "results decoded, and predicted by the tail, on samples drawn here": 4,
    }
    assert [(one.scenario, one.results, one.of) for one in verdict.replayed] == [("toy-directions@1", 4, 4)]


def test_by_default_a_seeded_share_of_batches_is_decoded_and_predicted(packed, verdict_on):
    verdict = verdict_on(packed)
    found = {check.what: (check.checked, check.of) for check in verdict.checked}
    assert verdict.level == "verified"
    drawn = found["samples decoded anew"]
    assert 44 + 2 * 2 <= drawn[0] <= 44 + 2 * 4 and drawn[1] == 88  # a batch of each, all of anchor and floor
    assert found["predictions made anew by the tail"] == found["samples decoded anew"]
    assert found["bitstreams recounted"] == (88, 88) and found["learned states fitted anew"] == (1, 3)


def test_nobody_knows_beforehand_what_is_looked_at(packed, verdict_on):
    seeds = {verdict_on(packed, seed=None).seed for _ in range(2)}
    assert len(seeds) == 2


def test_the_digest_is_over_names_and_contents(submission, verdict_on):
    before = verdict_on(submission).digest
    listing = ""
    for path in sorted(submission.rglob("*"), key=lambda path: path.relative_to(submission).as_posix()):
        if path.is_file():
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            listing += f"{sha256}  {path.relative_to(submission).as_posix()}\n"
    assert before == hashlib.sha256(listing.encode()).hexdigest() == submission_digest(submission)
    edit_json(submission / "submission.json", lambda manifest: manifest.update(display_name="Another"))
    assert verdict_on(submission).digest != before


def test_sampled_bitstreams_are_consistent_at_most(run_results, verdict_on, tmp_path):
    folder = pack(run_results, tmp_path, AUTHOR, sampled=True)
    whole = sum(path.stat().st_size for path in pack(run_results, tmp_path / "whole", AUTHOR).rglob("bitstreams.*"))
    assert sum(path.stat().st_size for path in folder.rglob("bitstreams.*")) < whole
    verdict = verdict_on(folder, full=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    found = {check.what: check for check in verdict.checked}
    assert found["bitstreams recounted"].left_out == "bitstreams are sampled"
    assert found["samples decoded anew"].checked == 4 * 3
    assert verdict.replayed == []


def test_the_tail_runs_on_batches_of_which_every_sample_is_shown(run_results, verdict_on, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(bitstreams, "SHOWN_SHARE", 0.8)
    folder = pack(run_results, tmp_path, AUTHOR, sampled=True)
    whole = 0
    for path in folder.rglob(BITSTREAMS_FILE):
        shown = set(Bitstreams(path, 22).shown)
        parts = [set(range(start, min(22, start + toy.batch_size))) for start in range(0, 22, toy.batch_size)]
        whole += sum(len(part) for part in parts if part <= shown)
    (predicted,) = [check for check in verdict_on(folder).checked if check.what == "predictions made anew by the tail"]
    assert 0 < whole < 88 and predicted.checked == whole
    assert verdict_on(folder).replayed == []  # its author chose them


def test_a_sampled_bitstream_that_was_changed_is_found(run_results, verdict_on, toy, tmp_path):
    result = Doctored(pack(run_results, tmp_path, AUTHOR, sampled=True), toy)
    held = Bitstreams(result.path / BITSTREAMS_FILE, 22)
    result.table(coded_bytes=lambda sizes: [size + (index == held.shown[1]) for index, size in enumerate(sizes)])
    verdict = verdict_on(result.submission)
    assert [fault.sample for fault in verdict.faults] == [f"{held.shown[1]} (test-{held.shown[1]})"]


def test_a_strangers_source_runs_only_where_it_is_trusted(own_codec, verdict_on, decoder):
    verdict = verdict_on(own_codec, decoder)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    (loaded,) = [check for check in verdict.checked if check.what == "codecs loaded in another process"]
    assert loaded.left_out == "the codec's own source is run with --trust-code alone"
    verdict = verdict_on(own_codec, decoder, trust_code=True)
    assert verdict.faults == [] and verdict.level == ("consistent" if unconfined() or shares_disk() else "verified")


def test_without_a_disk_of_its_own_a_strangers_codec_is_consistent_at_most(own_codec, verdict_on, monkeypatch):
    monkeypatch.setattr(validate_module, "unconfined", lambda: "")
    monkeypatch.setattr(validate_module, "shares_disk", lambda: "it shares the disk")
    verdict = verdict_on(own_codec, trust_code=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    assert [check.what for check in verdict.checked if check.left_out] == ["codecs with a disk of their own"]


def test_invented_predictions_of_a_source_that_was_not_run_are_not_said_to_be_replayed(own_codec, verdict_on, toy):
    result = Doctored(own_codec, toy, codec="own")
    result.table(prediction=lambda labels: [(label + 1) % 4 for label in labels])
    verdict = verdict_on(own_codec, full=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    assert [(one.results, one.of) for one in verdict.replayed] == [(2, 3)]  # uncoded features and calibration mean
    assert not verdict.has_replayed(toy.ref)
    trusted = verdict_on(own_codec, full=True, trust_code=True)
    assert trusted.level == "refused" and not trusted.has_replayed(toy.ref)


def test_of_a_source_that_was_run_all_is_replayed(own_codec, verdict_on, toy):
    assert verdict_on(own_codec, trust_code=True).has_replayed(toy.ref)


def test_what_a_quantiser_is_said_to_lose_is_asked_of_the_codec(own_codec, verdict_on, toy):
    result = Doctored(own_codec, toy, codec="own")
    assert verdict_on(own_codec, trust_code=True, full=True).faults == []
    result.table(quantiser_error__hidden=lambda errors: [errors[0] / 2, *errors[1:]])
    (fault,) = verdict_on(own_codec, trust_code=True, full=True).faults
    assert fault.sample == "0 (test-0)" and "squared error of the quantiser on 'hidden'" in fault.fault


def test_a_source_that_was_edited_is_found_without_running_it(own_codec, verdict_on):
    (source,) = own_codec.rglob("own.py")
    source.write_text(source.read_text() + "raise SystemExit('it runs')\n")
    verdict = verdict_on(own_codec)
    assert verdict.level == "refused" and any("own.py" in fault.fault for fault in verdict.faults)


def test_what_is_not_known_here_is_said(packed, verdict_on):
    verdict = verdict_on(packed, scenarios=())
    assert verdict.level == "consistent"
    (check,) = [check for check in verdict.checked if check.what == "scenarios with data at hand"]
    assert "toy-directions is not registered here" in check.left_out


def test_on_another_processor_some_predictions_may_come_out_otherwise(submission, toy, verdict_on, monkeypatch):
    result = Doctored(submission, toy)
    edit_json(result.path / "run.json", lambda run: run.update(device_name="another processor"))
    result.table(prediction=lambda labels: [*labels[:5], (labels[5] + 1) % 4, *labels[6:]])
    assert verdict_on(submission, full=True).level == "refused"  # one in 22 is too many
    monkeypatch.setattr(replay, "MOST_FLIPS", 0.05)
    verdict = verdict_on(submission, full=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])


def test_bits_that_are_not_those_that_were_scored_are_no_verified_ones(doctored, verdict_on):
    """Distortions and predictions agree; the decoded bits are others than the author's."""
    doctored.table(judged=False, decoded_sha256=lambda digests: ["0" * 64, *digests[1:]])
    verdict = verdict_on(doctored.submission, full=True)
    assert (verdict.level, verdict.faults) == ("consistent", [])
    (check,) = [check for check in verdict.checked if check.what.startswith("of these, decoded to the very bits")]
    assert check.of - check.checked == 1 and "other bits" in check.left_out


def test_bytes_that_decode_only_after_those_of_the_sample_before_are_found(
    run_results, make_runner, toy, verdict_on, decoder, tmp_path
):
    """Nothing in the process that decodes knows what is decoded next: a chain of samples breaks."""
    results = shutil.copytree(run_results, tmp_path / "results", dirs_exist_ok=True)
    codec = make_codecs(f"{Path(__file__).parent / 'chaining.py'}:ChainingCodec", toy.specs)[0]
    decoder.close()  # whose module of this name has counted nothing yet
    make_runner(results=results, verify_samples=0).run_codec(codec)
    folder = pack(results, tmp_path / "packed", Author(), "chaining")
    verdict = verdict_on(folder, decoder, trust_code=True, full=True)
    assert verdict.level == "refused"
    assert any("/chaining/" in fault.file and "decodes to squared error" in fault.fault for fault in verdict.faults)


def test_what_is_no_submission_is_one_clear_error(tmp_path, verdict_on):
    with pytest.raises(SubmissionError, match="there is no folder"):
        verdict_on(tmp_path / "absent")
    (tmp_path / "With Space").mkdir()
    with pytest.raises(SubmissionError, match="is no name of a submission"):
        verdict_on(tmp_path / "With Space")
    (tmp_path / "empty").mkdir()
    assert [fault.fault for fault in verdict_on(tmp_path / "empty").faults] == [
        "the submission is no submission: it has no submission.json"
    ]


@pytest.mark.parametrize("name", [".", "With Space", "absent"])
def test_the_command_writes_no_verdict_on_what_is_no_submission(tmp_path, monkeypatch, capsys, name):
    folder = tmp_path / "some-folder"
    (folder / "With Space").mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert main(["validate", name]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert ("is no submission: it has no submission.json" in line) == (name == ".")
    assert [path.name for path in folder.iterdir()] == ["With Space"]


def test_published_schemas_are_those_of_the_models():
    for path, model in SCHEMAS.items():
        assert path.read_text() == schema_text(model)


def test_what_is_written_fits_its_published_schema(packed, verdict_on, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    write_verdict(tmp_path / "verdict.json", verdict_on(packed))
    for path, schema in zip((packed / "submission.json", tmp_path / "verdict.json"), SCHEMAS, strict=True):
        jsonschema.validate(json.loads(path.read_text()), json.loads(schema.read_text()))


def test_a_results_repository_is_no_submission_and_says_what_it_holds(submission, verdict_on):
    with pytest.raises(SubmissionError, match=f"name a submission in it: submissions/{submission.name}$"):
        verdict_on(submission.parents[1])
