"""Raw data: folders by the names of splits, repositories of the Hub at the commit that is pinned."""

from __future__ import annotations

import json

import pytest

from dataset_builders.full.language.builders import repository_of
from dataset_builders.full.language.tasks import TASKS
from dataset_builders.full.raw import TEST_NAMES, TRAINING_NAMES, RawData, files_of, published, rows
from dataset_builders.full.speech import builders as spoken
from lamofcbench.errors import DataError


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"name": name}) + "\n")


def names(files):
    return [path.name for path in files]


def test_files_are_of_a_split_by_their_folder_or_name(tmp_path):
    put(tmp_path, "data/validation-00000.json", "data/train-00000.json", "test/a.json", "readme.txt")
    assert names(files_of(tmp_path, TEST_NAMES, (".json",))) == ["a.json"]  # the likeliest name counts
    assert names(files_of(tmp_path, ("validation",), (".json",))) == ["validation-00000.json"]
    assert names(files_of(tmp_path, TRAINING_NAMES, (".json",))) == ["train-00000.json"]
    assert files_of(tmp_path, ("dev",), (".json",)) == []


def test_a_folder_that_says_nothing_is_of_the_split_that_it_is_named_for(tmp_path):
    put(tmp_path, "b.json", "a.json")
    assert names(files_of(tmp_path, TEST_NAMES, (".json",))) == ["a.json", "b.json"]
    assert files_of(tmp_path, TRAINING_NAMES, (".json",), own=False) == []
    assert names(RawData(tmp_path).files("test", tmp_path, (".json",), "things")) == ["a.json", "b.json"]
    with pytest.raises(DataError, match="no files of the calibration split, things; name their folder with --calib"):
        RawData(tmp_path).files("calibration", tmp_path, (".json",), "things")
    with pytest.raises(DataError, match="the test samples are things; name their folder with --raw"):
        RawData().folder("test", None, "things")
    with pytest.raises(DataError, match=r"there is no folder .*none"):
        RawData(tmp_path / "none").folder("test", None, "things")


def test_a_damaged_table_is_named(tmp_path):
    put(tmp_path, "x.parquet")
    with pytest.raises(DataError, match=r"cannot read .*x\.parquet"):
        list(rows([tmp_path / "x.parquet"]))


def test_the_hub_gives_the_files_of_the_pinned_commit_and_no_others(hub, tmp_path, monkeypatch):
    repository = published("vision/x")
    put(tmp_path / "first", "vision/x/a.json", "vision/y/b.json")
    put(tmp_path / "second", "vision/x/c.json")
    pinned = hub.commit(repository.name, "main", tmp_path / "first")
    hub.commit(repository.name, "main", tmp_path / "second")
    assert names(RawData().files("test", repository.folder(), (".json",), "things")) == ["c.json"]
    pins = tmp_path / "pins.json"
    pins.write_text(json.dumps({repository.name: pinned}))
    monkeypatch.setenv("LAMOFCBENCH_PINS", str(pins))
    folder = repository.folder()
    assert names(sorted(folder.rglob("*.json"))) == ["a.json"] and folder.parts[-2:] == ("vision", "x")
    with pytest.raises(DataError, match=r"cannot get none/.* of the Hub dataset .*; where there is no network"):
        published("none").__class__("org/absent", ("none/*",)).folder()


def test_parts_of_one_repository_that_lie_in_one_folder_stay_apart(hub, tmp_path):
    clean, other = (spoken.repository_of(spoken.task_of(f"cau-librispeech-{part}")) for part in ("clean", "other"))
    put(tmp_path, "clean/test/0000.parquet", "clean/validation/0000.parquet", "other/test/0000.parquet")
    hub.commit(clean.name, "main", tmp_path)
    folders = [repository.folder() for repository in (clean, other)]
    assert folders[0].parent == folders[1].parent == clean.folder().parent  # of the one commit
    for folder, part in zip(folders, ("clean", "other"), strict=True):
        [file] = RawData().files("test", folder, (".parquet",), "utterances")
        assert json.loads(file.read_text()) == {"name": f"{part}/test/0000.parquet"}


def test_documents_stand_on_the_hub_by_configuration_and_split():
    assert repository_of(TASKS["fc_gsm8k"]).patterns == ("main/test-*.parquet",)
    assert repository_of(TASKS["fc_hellaswag"]).patterns == ("*validation-*.parquet",)
