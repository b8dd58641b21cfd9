"""A codec's own ladder is whole, or it is said that nobody here knows; and all of its points are of one source."""

import hashlib
import json
import shutil

import pytest
from doctoring import Doctored, edit_json
from safetensors.torch import load_file

from harness.running.runner import ScenarioRunner
from harness.running.settings import RunSettings
from harness.submission.claims import rate_points
from harness.submission.pack import Author, pack
from lamofcbench.codecs.registry import make_codecs
from lamofcbench.codecs.saving import fingerprint_of

WHAT = "ladders known to be whole"
OWN = """
from dataclasses import dataclass

from lamofcbench.codecs.zstd import ZstdCodec


@dataclass(frozen=True)
class Params:
    level: int = 3


class Laddered(ZstdCodec):
    name = "laddered"
    Params = Params
    rate_points = ({"level": 3}, {"level": 4})
"""


@pytest.fixture(scope="module")
def packed_ladder(run_results, toy, toy_data, decoder, tmp_path_factory):
    """The submission of a codec with its own source and these rate points; no test changes it."""
    root = tmp_path_factory.mktemp("laddered")
    (root / "laddered.py").write_text(OWN)
    results = shutil.copytree(run_results, root / "results")
    runner = ScenarioRunner(toy, RunSettings(results=results, data=toy_data, progress=False), decoder=decoder)
    runner.run(make_codecs(f"{root / 'laddered.py'}:Laddered", toy.specs))
    return pack(results, root / "packed", Author(), "laddered")


@pytest.fixture
def laddered(packed_ladder, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(packed_ladder, tmp_path / "submissions" / packed_ladder.name)


def cut(folder):
    """Leaves out a rate point, and all that tells of it."""

    def change(manifest):
        (ladder,) = manifest["ladders"]
        ladder["points"] = [point for point in ladder["points"] if point["level"] == 3]
        for path in (folder / "results").glob("*/laddered/*"):
            if '"level": 4' in (path / "result.json").read_text():
                shutil.rmtree(path)
                manifest["codec"]["fingerprints"].pop("/".join(path.parts[-3:]))

    edit_json(folder / "submission.json", change)


def whole(verdict):
    return [(check.checked, check.of, check.left_out) for check in verdict.checked if check.what == WHAT]


def test_a_point_that_was_left_out_of_a_codecs_own_ladder_is_found_where_its_source_runs(laddered, verdict_on):
    verdict = verdict_on(laddered, trust_code=True)
    assert verdict.faults == [] and whole(verdict) == [(1, 1, "")]
    cut(laddered)
    (fault,) = verdict_on(laddered, trust_code=True).faults
    assert fault.file == "submission.json" and "lacks {'level': 4} of the codec's own" in fault.fault


def test_a_part_of_a_codecs_own_ladder_is_packed_as_points_that_were_named(
    run_results, toy, toy_data, decoder, verdict_on, tmp_path
):
    (tmp_path / "laddered.py").write_text(OWN)
    results = shutil.copytree(run_results, tmp_path / "results")
    runner = ScenarioRunner(toy, RunSettings(results=results, data=toy_data, progress=False), decoder=decoder)
    runner.run(make_codecs(f"{tmp_path / 'laddered.py'}:Laddered:level=4", toy.specs))
    folder = pack(results, tmp_path / "packed", Author(), "laddered")
    (ladder,) = json.loads((folder / "submission.json").read_text())["ladders"]
    assert ladder["chosen_by"] == "named"
    assert verdict_on(folder, trust_code=True).faults == []


def test_where_its_source_does_not_run_nobody_knows_and_that_is_said(laddered, verdict_on):
    verdict = verdict_on(laddered)
    ((checked, of, reason),) = whole(verdict)
    assert (verdict.level, checked, of) == ("consistent", 0, 1) and "with --trust-code" in reason


def test_a_ladder_that_is_said_to_follow_from_a_rule_is_taken_for_what_the_manifest_says(submission, verdict_on):
    edit_json(submission / "submission.json", lambda manifest: manifest["ladders"][0].update(chosen_by="rule 2, 00"))
    verdict = verdict_on(submission)
    assert verdict.level == "verified" and whole(verdict) == []


@pytest.mark.parametrize("said", [None, 3, [3], "text", [{"step": float("nan")}], [["a", "b"]]])
def test_what_is_no_ladder_is_none(said):
    assert rate_points(said) is None


def test_a_point_that_brings_another_source_than_the_others_is_found_before_any_runs(laddered, toy, verdict_on):
    spoilt = Doctored(laddered, toy, "laddered")
    folder = spoilt.path / "codec"
    (source,) = folder.rglob("laddered.py")
    source.write_text(source.read_text() + "raise SystemExit('it runs')\n")
    config = json.loads((folder / "config.json").read_text())
    config["codec_source"]["files"]["laddered.py"] = hashlib.sha256(source.read_bytes()).hexdigest()
    identifying = {name: value for name, value in config.items() if name not in ("codec_class", "fingerprint")}
    config["fingerprint"] = fingerprint_of(identifying, load_file(folder / "model.safetensors")).hex()
    (folder / "config.json").write_text(json.dumps(config))
    spoilt.configuration(codec={"fingerprint": config["fingerprint"]})
    verdict = verdict_on(laddered, trust_code=True)
    told = [fault.file for fault in verdict.faults if "has another source than other results" in fault.fault]
    assert len(set(told)) == 2 and all("/laddered/" in file and file.endswith("codec/config.json") for file in told)
    loaded = next(check for check in verdict.checked if check.what == "codecs loaded in another process")
    assert loaded.of == 2  # uncoded features and the calibration mean
