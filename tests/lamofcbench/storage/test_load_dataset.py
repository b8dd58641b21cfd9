"""The public path and the patched one: rows, slices, streams, processes, formats, and what the name means."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch

import lamofcbench
from lamofcbench.errors import DataError, UnknownNameError
from lamofcbench.storage import open_split, patch
from lamofcbench.storage.feature import SafeTensor

COLUMNS = ["sample_id", "content_sha256", "reference", "side.seed", "hidden.1", "key.0", "pooled"]


def assert_rows_match(rows, words, samples, first=0):
    for index, row in enumerate(rows, start=first):
        assert row["reference"] == samples.reference(index) and row["sample_id"] == samples.sample_id(index)
        read, original = lamofcbench.feature_set(row, words.specs), samples.features(index)
        assert dict(read.side) == dict(original.side)
        for name in original:
            assert read[name].dtype == original[name].dtype and torch.equal(read[name], original[name])


@pytest.fixture
def samples(words, words_folder):
    return open_split(words, "test", words_folder)


@pytest.fixture(params=["public", "patched"])
def load(request, words_name, words_folder):
    """Both ways to the same rows."""

    def load_any(split=None, **options):
        options = {"data_dir": str(words_folder), **options}
        if request.param == "public":
            return lamofcbench.load_dataset(words_name, split, **options)
        return datasets.load_dataset("lamofcbench", words_name, split=split, **options)

    return load_any


def test_all_splits(load, words, samples):
    data = load()
    assert {split: len(rows) for split, rows in data.items()} == {"test": 20, "calibration": 6}
    assert data["test"].column_names == COLUMNS
    assert isinstance(data["test"].features["key.0"], SafeTensor)
    assert_rows_match(data["test"], words, samples)


def test_slices(load, words, samples):
    assert len(load("test[:8]")) == 8
    assert_rows_match(load("test[5:9]"), words, samples, first=5)
    assert len(load("test[:10%]+calibration")) == 8


def test_streaming(load, words, samples):
    stream = load("test", streaming=True)
    assert isinstance(stream, datasets.IterableDataset)
    rows = list(stream)
    assert len(rows) == 20
    assert_rows_match(rows, words, samples)
    assert_rows_match(stream.skip(3).take(2), words, samples, first=3)
    assert set(load(streaming=True)) == {"test", "calibration"}


def test_num_proc(load, words, samples, tmp_path):
    data = load("test", num_proc=2, cache_dir=str(tmp_path))
    # A file from each process; datasets lowers num_proc, with a warning, where it cannot divide the work.
    assert len(list(tmp_path.rglob("lamofcbench-test-*-of-00002.arrow"))) == 2
    assert_rows_match(data, words, samples)


def test_rows_are_views_of_the_mapped_file(load, words_folder):
    row = load("test")[0]
    address = row["hidden.1"].data_ptr()
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(words_folder) in line]
    ranges = [[int(n, 16) for n in line.split()[0].split("-")] for line in mapped]
    assert any(start <= address < end for start, end in ranges)


def test_working_with_rows_keeps_the_stored_tensors(load, words, samples, tmp_path):
    data = load("test")
    assert data.select([4, 2])[1]["reference"] == samples.reference(2)
    assert data.sort("side.seed").shuffle(seed=1)[0]["key.0"].dtype is torch.bfloat16
    long = data.filter(lambda row: row["hidden.1"].shape[0] > 9)
    assert 0 < len(long) < 20 and long[0]["key.0"].dtype is torch.bfloat16
    mapped = data.map(lambda row: {"tokens": row["hidden.1"].shape[0]})
    assert isinstance(mapped.features["key.0"], SafeTensor)
    assert mapped[3]["tokens"] == 9 and mapped[3]["key.0"].dtype is torch.bfloat16
    data.save_to_disk(tmp_path / "saved")
    assert_rows_match(datasets.load_from_disk(tmp_path / "saved"), words, samples)
    references = data.cast_column("pooled", SafeTensor(decode=False))[0]["pooled"]
    assert references["dtype"] == "float16" and references["shape"] == [5]


def test_a_column_takes_references_only():
    with pytest.raises(TypeError, match=r"holds references .* write new tensors with"):
        SafeTensor().encode_example(torch.zeros(2))


def test_workers_of_a_data_loader_read_everything_once(load):
    stream = load("test", streaming=True)
    loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2)
    assert sorted(row["sample_id"] for row in loader) == sorted(f"test-{i}" for i in range(20))


def test_a_scenario_object_and_any_form_of_the_folder(words, words_folder, samples, monkeypatch):
    monkeypatch.chdir(words_folder.parent)
    for folder in (words_folder, words_folder.name, f"./{words_folder.name}/"):
        assert_rows_match(lamofcbench.load_dataset(words, "test", data_dir=folder), words, samples)


def test_a_changed_dataset_never_gives_stale_rows(words, words_builder, tmp_path, monkeypatch):
    words_builder.build(words, tmp_path / "data", progress=False)
    options = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "rows"}
    assert lamofcbench.load_dataset(words, "test", **options)[0]["reference"] == "ab0"
    samples_of = type(words_builder).samples
    monkeypatch.setattr(type(words_builder), "samples", lambda self, split: samples_of(self, split)[::-1])
    words_builder.build(words, tmp_path / "data", progress=False)
    assert lamofcbench.load_dataset(words, "test", **options)[0]["reference"] == "abab19"


def test_one_relative_name_in_two_folders_is_two_datasets(words, words_builder, tmp_path, monkeypatch):
    samples_of = type(words_builder).samples
    first = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        words_builder.build(words, tmp_path / place / "data", progress=False)
        rows = lamofcbench.load_dataset(words, "test", data_dir="data", cache_dir=tmp_path / "rows")
        first.append(rows[0]["pooled"].tolist())
        monkeypatch.setattr(type(words_builder), "samples", lambda self, split: samples_of(self, split)[::-1])
    assert first[0] != first[1]


def test_the_name_alone_lists_the_scenarios(words_folder):
    with pytest.raises(DataError, match=r"which scenario.*mini-cvu-digits"):
        datasets.load_dataset("lamofcbench", data_dir=str(words_folder))
    assert "mini-cvu-digits" in datasets.get_dataset_config_names("lamofcbench")


def test_data_files_and_unknown_scenarios_are_refused(words_name):
    with pytest.raises(DataError, match="data_files is not supported"):
        datasets.load_dataset("lamofcbench", words_name, data_files="x.parquet")
    with pytest.raises(UnknownNameError, match="did you mean 'mini-cvu-digits'"):
        datasets.load_dataset("lamofcbench", "mini-cvu-digts")


def test_splits_can_be_asked_for(words_name, words_folder):
    names = datasets.get_dataset_split_names("lamofcbench", words_name, data_dir=str(words_folder))
    assert names == ["test", "calibration"]


def test_other_names_go_to_datasets_as_before(words_folder):
    path = words_folder / "user-words" / "calibration.parquet"
    assert len(datasets.load_dataset("parquet", data_files=str(path), split="train")) == 6


def test_patching_twice_changes_nothing():
    before = datasets.load.dataset_module_factory
    patch.install()
    assert datasets.load.dataset_module_factory is before


def test_a_datasets_that_changed_inside_gets_a_warning_that_names_the_public_path(monkeypatch):
    from types import ModuleType

    with pytest.warns(UserWarning, match=r"use lamofcbench\.load_dataset"):
        patch._patch(ModuleType("datasets.load"))


@pytest.mark.parametrize("imports", ["lamofcbench, datasets", "datasets, lamofcbench"])
def test_from_any_directory_in_either_order_of_import(imports, words_name, words_folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "lamofcbench").mkdir(parents=True)  # a folder of the name here is not what is meant
    (elsewhere / "lamofcbench" / "data.json").write_text('{"text": "something else"}')
    script = tmp_path / "script.py"
    script.write_text(f"""
import {imports}, json, sys
rows = datasets.load_dataset("lamofcbench", {words_name!r}, data_dir={str(words_folder)!r}, split="test[:2]")
finders = [f for f in sys.meta_path if "lamofcbench" in type(f).__module__]
loader = type(datasets.load.__spec__.loader).__module__
print(json.dumps([rows["reference"][:], str(rows[0]["key.0"].dtype), len(finders), "lamofcbench" in loader]))
""")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=elsewhere, env=environment, check=True
    )
    assert json.loads(done.stdout) == [["ab0", "abab1"], "torch.bfloat16", 0, False]


def test_the_import_is_light():
    code = "import sys, lamofcbench; print([m for m in ('torch', 'datasets', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    for name in lamofcbench.__all__:
        assert getattr(lamofcbench, name) is not None
    assert set(lamofcbench.__all__) <= set(dir(lamofcbench))
    with pytest.raises(AttributeError):
        lamofcbench.no_such_name
