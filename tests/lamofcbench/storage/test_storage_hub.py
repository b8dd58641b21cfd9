"""From the Hub: one commit for everything, shards when they are first needed, the same rows as from disk."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SESSION = Path(__file__).with_name("hub_session.py")
TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seen(words, words_name, words_builder, words_folder, tmp_path_factory):
    """What a session with a Hub on the loopback device saw; see hub_session.py."""
    tmp_path = tmp_path_factory.mktemp("hub")
    samples_of = type(words_builder).samples
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(words_builder), "samples", lambda self, split: samples_of(self, split)[::-1])
        words_builder.build(words, tmp_path / "other", progress=False)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "LAMOFCBENCH_CACHE": str(tmp_path / "cache")}
    environment |= {"HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, str(SESSION), str(words_folder), str(tmp_path / "other"), words_name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_branch_is_resolved_once_and_everything_comes_from_that_commit(seen):
    assert seen["source"] == f"hf://datasets/org/words@{seen['first']}"
    manifest, *others = seen["at_open"]
    assert re.fullmatch(r"user-words/manifest\.json@(main|[0-9a-f]{40})", manifest)
    assert f"user-words/test.parquet@{seen['first']}" in others


def test_shards_come_when_they_are_first_needed(seen):
    assert not any(".safetensors" in request for request in seen["at_open"])
    (request,) = seen["after_first_sample"]
    assert re.fullmatch(rf"user-words/test-00000-of-\d+-\w{{8}}\.safetensors@{seen['first']}", request)


def test_a_reader_stays_at_its_commit_when_the_branch_moves(seen):
    assert seen["tokens"] == seen["letters"] and len(seen["tokens"]) == 20
    assert seen["revisions_asked_for"] == [seen["first"]]
    assert seen["word"] == seen["old_commit"] == "ab0"
    assert seen["moved"] == [True, "abab19"]


def test_rows_and_streams_come_from_the_hub_too(seen):
    words, dtype, files = seen["rows"]
    assert words == ["ab0", "abab1", "ababab2"] and dtype == "torch.bfloat16"
    assert all(re.match(r"hf://datasets/org/words@[0-9a-f]{40}/user-words/test-", file) for file in files)
    assert seen["stream"] == "abab19"


def test_what_the_hub_does_not_have_is_one_clear_error_each(seen):
    repository, revision, no_dataset, bad_name = seen["errors"]
    assert "there is no Hub dataset 'org/absent'" in repository
    assert "has no revision 'v9'" in revision
    assert "has no user-words/manifest.json; is it a LaMoFCBench dataset?" in no_dataset
    assert "cannot get user-words/manifest.json of the Hub dataset a b" in bad_name
    assert not any("\n" in error for error in seen["errors"])
