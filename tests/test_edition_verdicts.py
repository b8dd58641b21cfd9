"""Rows of the board are validated as a stranger's are, in another process, and not twice."""

import json

import edition_verdicts
import pytest

from harness.cli import main
from harness.submission.manifest import read_manifest
from harness.submission.verdict import read_verdict
from lamofcbench.errors import LaMoFCBenchError, UnknownNameError
from lamofcbench.scenarios.base import SCENARIOS

SHALLOW = "mini-cvu-digits-hard-shallow"


@pytest.fixture
def results(tmp_path):
    """One codec at one rate on a variant, whole test split."""
    folder = tmp_path / "bench"
    run = ["run", "--scenarios", SHALLOW, "--codecs", "uniform:step=1", "--results", str(folder)]
    assert main(run) == 0
    return folder


def test_a_submission_is_validated_once_and_its_row_says_what_was_looked_at(results, tmp_path, capfd, monkeypatch):
    assert edition_verdicts.codecs_of(results) == ["uniform"]
    assert edition_verdicts.validate_all(results, ["uniform"], 1, cards=tmp_path) == []
    assert "uniform: verified" in capfd.readouterr().out
    assert not (tmp_path / "mini").exists()  # of one scenario no board has a row
    path = tmp_path / "validated" / "verdicts" / "uniform.json"
    verdict, before = read_verdict(path), path.stat().st_mtime_ns

    def of_a_whole_edition(folder):
        return read_manifest(folder).model_copy(update={"editions": ["mini"]})

    monkeypatch.setattr(edition_verdicts, "read_manifest", of_a_whole_edition)
    assert main(["run", "--scenarios", SHALLOW, "--codecs", "uniform:step=1", "--results", str(results)]) == 0
    assert edition_verdicts.validate_all(results, ["uniform"], 1, cards=tmp_path) == []
    assert path.stat().st_mtime_ns == before
    [(codec, row)] = json.loads((tmp_path / "mini" / "verdicts.json").read_text()).items()
    assert (codec, row["level"], row["faults"], row["why"], row["scenarios"]) == ("uniform", "verified", 0, [], 1)
    assert row["digest"] == verdict.digest and verdict.looked.full
    every = 3 * SCENARIOS.get(SHALLOW).test_samples  # of anchor, floor and codec
    samples = {"checked": every, "of": every}
    assert row["decoded"] == row["predicted"] == samples and row["results"] == {"checked": 3, "of": 3}
    assert row["fitted"] == {"checked": 2, "of": 2}  # what floor and codec have learned


def test_a_codec_that_there_is_not_is_told_by_the_process_that_looked_for_it(results, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown codec in these results 'unifrom'"):
        edition_verdicts.validate_all(results, ["unifrom"], 1, cards=tmp_path)


def test_what_is_no_submission_says_so_and_has_no_row(results, tmp_path):
    for path in results.glob("*/mean"):
        path.rename(tmp_path / "mean")
    with pytest.raises(LaMoFCBenchError, match="there is no result of mean"):
        edition_verdicts.validate_all(results, ["uniform"], 1, cards=tmp_path)
    assert not (tmp_path / "mini" / "verdicts.json").exists()
