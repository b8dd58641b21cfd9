"""Submissions and their verdicts: a level is that of the verdict on the very content; what is refused is not shown."""

import json
import shutil

import pytest
from test_compile import DIGITS, SPEECH, write_results

from harness.leaderboard.compile import compile_board
from harness.leaderboard.entries import find_entries
from harness.leaderboard.repository import fetched
from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.hub import HubError

manifest = pytest.importorskip("harness.submission.manifest")
REPO = "org/results"


def verdict(folder, level, **changed):
    fault = {"file": "results", "sample": None, "fault": "sample 3 decodes to other bits <b>"}
    return {
        "format_version": 1, "submission": folder.name, "digest": manifest.submission_digest(folder), "level": level,
        "faults": [fault, fault] if level == "refused" else [], "checked": [], "seed": 1, "versions": {},
        "date": "2026-02-03T04:05:06+00:00", **changed,
    }  # fmt: skip


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """Four submissions of the same codec: verified, refused, without a verdict, changed after its verdict."""
    root = tmp_path_factory.mktemp("repository")
    first = root / "submissions" / "good"
    write_results(first / "results", codecs=("channel", "uniform"))
    ladder = {"chosen_by": "named", "points": [{"step": 1.0}]}
    stated = {
        "name": "good", "display_name": "Good codec", "organisation": "Institute", "link": "https://example.org/good",
        "commit": "0123456789abcdef0123456789abcdef01234567", "licence": "MIT", "knowledge": "other data",
        "codec": {"id": "channel", "identity": "lamofcbench:channel@1", "fingerprints": {}}, "editions": [],
        "ladders": [{"scenario": f"{name}@1", **ladder} for name in (DIGITS, SPEECH)],
        "bitstreams": "whole", "versions": {}, "environment": {},
    }  # fmt: skip
    (root / "verdicts").mkdir()
    for name in ("good", "refused", "unseen", "changed"):
        folder = root / "submissions" / name
        if name != "good":
            shutil.copytree(first, folder)
        told = stated | {"name": name, "display_name": f"{name.title()} codec"}
        (folder / "submission.json").write_text(json.dumps(told))
        level = {"refused": "refused", "unseen": None}.get(name, "verified")
        if level:
            (root / "verdicts" / f"{name}.json").write_text(json.dumps(verdict(folder, level)))
    with (root / "submissions" / "changed" / "submission.json").open("a") as file:
        file.write("\n")
    return root


@pytest.fixture(scope="module")
def made(submitted):
    return compile_board([submitted], REPO, resamples=0)


def test_the_level_is_that_of_the_verdict_whose_digest_matches(made):
    levels = {row.submission: (row.level, row.checked_on) for row in made.editions[0].rows}
    assert levels == {
        "good": ("verified", "2026-02-03"),
        "changed": ("not verified", ""),
        "unseen": ("not verified", ""),
    }


def test_refused_submissions_stand_at_the_foot_with_the_reason(made):
    assert [(one.what, one.reason) for one in made.refused] == [
        ("refused", "sample 3 decodes to other bits <b>, and 1 more")
    ]


def test_a_row_is_the_codec_that_was_submitted_as_its_manifest_says(made):
    row = next(row for row in made.editions[0].rows if row.submission == "good")
    assert (row.codec, row.name, row.organisation, row.link) == (
        "Good codec",
        "channel",
        "Institute",
        "https://example.org/good",
    )
    assert (row.licence, row.trained_on, row.commit[:4]) == ("MIT", "other data", "0123")


def test_results_of_other_codecs_beside_the_submitted_one_have_no_voice(submitted, tmp_path):
    """Of two revisions of the data that counts of which there are more rows, not the one with more results."""
    root = shutil.copytree(submitted, tmp_path / "repository", ignore=shutil.ignore_patterns("verdicts"))
    crowded = root / "submissions" / "changed" / "results"
    shutil.rmtree(crowded)
    write_results(crowded, codecs=("channel", *(f"other-{number}" for number in range(8))), data_revision="s" * 40)
    made = compile_board([root], REPO, resamples=0)
    assert {row.submission for row in made.editions[0].rows} == {"good", "refused", "unseen"}


def test_results_that_cannot_be_read_are_named_without_a_path(submitted, tmp_path):
    root = shutil.copytree(submitted, tmp_path / "repository")
    shutil.rmtree(root / "submissions" / "unseen" / "results")
    (told,) = [one for one in compile_board([root], REPO, resamples=0).left_out if one.what == "unseen"]
    assert told.reason.startswith("no results folder unseen; ")


@pytest.mark.parametrize(
    "content", ["", "[]", '{"level": "verified"}', "{" * 100_000, '{"level": "verified", "faults": "x"}']
)
def test_a_verdict_that_cannot_be_read_is_none(submitted, tmp_path, content):
    root = tmp_path / "repository"
    shutil.copytree(submitted / "submissions" / "good", root / "submissions" / "good")
    (root / "verdicts").mkdir()
    (root / "verdicts" / "good.json").write_text(content)
    (entry,), refused = find_entries([root])
    assert (entry.level, refused) == ("not verified", [])


@pytest.mark.parametrize(
    "update",
    [
        {"link": "javascript:alert(1)"},
        {"link": "https://a b"},
        {"display_name": "a\u202eb"},
        {"commit": "main"},
        {"name": "x"},
    ],
)
def test_a_manifest_that_breaks_its_schema_is_not_shown(submitted, tmp_path, update):
    folder = tmp_path / "repository" / "submissions" / "good"
    shutil.copytree(submitted / "submissions" / "good", folder)
    path = folder / "submission.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | update))
    entries, (refused,) = find_entries([tmp_path / "repository"])
    assert not entries and refused.what == "good" and str(tmp_path) not in refused.reason


def test_a_repository_of_the_hub_is_fetched_at_its_commit(submitted, hub, tmp_path):
    (tmp_path / "verdicts").mkdir()
    for name, level in (("good", "verified"), ("refused", "refused")):
        folder = tmp_path / "submissions" / name
        folder.mkdir(parents=True)
        shutil.copyfile(submitted / "submissions" / name / "submission.json", folder / "submission.json")
        (tmp_path / "verdicts" / f"{name}.json").write_text(json.dumps(verdict(folder, level)))
    commit = hub.commit(REPO, "main", tmp_path)
    with fetched(REPO) as (folder, found):
        assert found == commit
        entries, refused = find_entries([folder])
    assert {entry.submission: entry.level for entry in entries} == {"good": "verified"} and len(refused) == 1
    assert not folder.exists()


def test_a_submission_larger_than_one_can_be_keeps_no_other_from_being_fetched(submitted, hub, tmp_path, monkeypatch):
    for name in ("good", "changed"):
        folder = tmp_path / "submissions" / name
        folder.mkdir(parents=True)
        shutil.copyfile(submitted / "submissions" / name / "submission.json", folder / "submission.json")
    (tmp_path / "submissions" / "changed" / "large").write_bytes(bytes(10_000))
    hub.commit(REPO, "main", tmp_path)
    monkeypatch.setattr("harness.submission.intake.MAX_TOTAL_BYTES", 9_000)
    monkeypatch.setattr("harness.leaderboard.repository.MAX_TOTAL_BYTES", 9_000)
    with fetched(REPO) as (folder, _):
        entries, refused = find_entries([folder])
        assert list((folder / "submissions" / "changed").iterdir()) == []
    assert [entry.submission for entry in entries] == ["good"] and [one.what for one in refused] == ["changed"]


def test_a_repository_without_submissions_is_an_error(hub, tmp_path):
    (tmp_path / "README.md").write_text("nothing")
    hub.commit(REPO, "main", tmp_path)
    with pytest.raises(LaMoFCBenchError, match="holds no submissions"), fetched(REPO):
        pass
    with pytest.raises(HubError, match="no such repository"), fetched("org/other"):
        pass
