"""Rows of `datasets` after map and its kin, and in other formats: stored tensors stay stored, new ones are refused."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch

import lamofcbench
from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.storage import feature
from lamofcbench.storage.feature import SafeTensor
from lamofcbench.storage.stored import StoredTensor

TENSORS = ["hidden.1", "key.0", "pooled"]
REFUSED = (
    "takes them as they came, not computed or changed ones.*write new tensors with lamofcbench.storage.DatasetWriter"
)


@pytest.fixture
def rows(words, words_folder, tmp_path):
    return lamofcbench.load_dataset(words, "test", data_dir=words_folder, cache_dir=tmp_path / "rows")


@pytest.fixture
def stream(words, words_folder):
    return lamofcbench.load_dataset(words, "test", data_dir=words_folder, streaming=True)


def assert_same_tensors(found, rows, columns=TENSORS):
    assert all(isinstance(found.features[name], SafeTensor) for name in columns)
    for mapped, row in zip(found, rows, strict=True):
        for name in columns:
            assert mapped[name].dtype == row[name].dtype and torch.equal(mapped[name], row[name])


@pytest.fixture(params=["safetensors", None])
def formatted(request, rows):
    return rows.with_format(request.param)


def set_item(row):
    row["n"] = 1
    return row


@pytest.mark.parametrize(
    "function", [lambda row: {**row, "n": 1}, set_item, lambda row: {"n": row["key.0"].shape[1]}, lambda row: row]
)
def test_columns_that_a_function_returns_as_they_came_stay_stored(formatted, rows, function):
    assert_same_tensors(formatted.map(function), rows)


def test_batches_positions_and_removed_columns(formatted, rows):
    batched = formatted.map(lambda batch: {**batch, "n": [len(batch["pooled"])] * 7}, batched=True, batch_size=7,
                            drop_last_batch=True)  # fmt: skip
    assert_same_tensors(batched, rows.select(range(14)))
    numbered = formatted.map(lambda row, index: {**row, "n": index}, with_indices=True)
    assert numbered["n"][:] == list(range(20))
    assert_same_tensors(numbered, rows)
    rest = formatted.map(lambda row: {"n": row["pooled"].shape[0]}, remove_columns=["pooled", "reference"])
    assert {"pooled", "reference"}.isdisjoint(rest.column_names)
    assert_same_tensors(rest, rows, TENSORS[:2])
    assert_same_tensors(formatted.filter(lambda row: row["hidden.1"].shape[0] > 0), rows)
    assert_same_tensors(formatted.map(lambda row: {**row, "n": 1}).select([3, 5]), rows.select([3, 5]))


def test_several_processes(rows):
    assert_same_tensors(rows.map(lambda row: {**row, "n": 1}, num_proc=2), rows)


def test_a_mapped_dataset_is_mapped_saved_and_read_again(rows, tmp_path):
    import datasets

    twice = rows.map(lambda row: {**row, "n": 1}).map(lambda row: {**row, "m": row["n"] + 1})
    twice.save_to_disk(tmp_path / "saved")
    assert_same_tensors(datasets.load_from_disk(tmp_path / "saved"), rows)
    assert_same_tensors(rows.map(lambda row: dict(row), features=rows.features), rows)
    assert_same_tensors(datasets.Dataset.from_list([rows[0], rows[1]]), rows.select([0, 1]))


def test_a_stored_tensor_may_change_its_column(rows):
    swapped = rows.map(lambda row: {"hidden.1": row["pooled"], "again": row["key.0"]})
    assert torch.equal(swapped[3]["hidden.1"], rows[3]["pooled"])
    assert isinstance(swapped.features["again"], SafeTensor)
    assert torch.equal(swapped[3]["again"], rows[3]["key.0"])


def test_what_is_computed_may_have_a_column_of_its_own(rows):
    means = rows.map(lambda row: {"mean": row["hidden.1"].mean(0)})
    assert len(means[0]["mean"]) == 6
    assert_same_tensors(means, rows)


@pytest.mark.parametrize(
    "function",
    [
        lambda row: {**row, "key.0": row["key.0"] * 2},
        lambda row: {**row, "key.0": row["key.0"].clone()},
        lambda row: {**row, "key.0": row["key.0"].tolist()},
        lambda row: {**row, "key.0": row["key.0"].float().numpy()},
        lambda row: {**row, "key.0": 1.5},
        lambda row: {**row, "key.0": row["key.0"].add_(0)},  # written to
        lambda row: {**row, "key.0": row["key.0"] if len(row["reference"]) % 2 else row["key.0"] + 1},
    ],
)
def test_computed_and_changed_tensors_are_refused_in_a_stored_column(formatted, function):
    with pytest.raises(DataError, match=REFUSED) as caught:
        formatted.map(function)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:To copy construct")
@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_the_copies_of_other_formats_are_refused_and_what_is_only_read_stays(rows, name):
    with pytest.raises(DataError, match="nor the copies of the formats torch and numpy"):
        rows.with_format(name).map(lambda row: {**row, "n": 1})
    read = rows.with_format(name).map(lambda row: {"n": row["key.0"].shape[1]})
    assert_same_tensors(read.with_format("safetensors"), rows)


def test_without_the_hook_values_are_refused_all_the_same(rows, monkeypatch):
    from datasets.arrow_writer import TypedSequence

    monkeypatch.setattr(TypedSequence, "__init__", TypedSequence.__init__.__wrapped__)
    with pytest.raises(DataError, match=REFUSED):
        rows.map(lambda row: {**row, "n": 1})
    assert_same_tensors(rows.map(lambda row: {"n": 1}), rows)


def test_streams(stream, rows):
    mapped = stream.map(lambda row: {**row, "n": 1}).filter(lambda row: row["key.0"].shape[1] > 0)
    for found, row in zip(mapped, rows, strict=True):
        assert all(torch.equal(found[name], row[name]) and found[name].dtype == row[name].dtype for name in TENSORS)
    batched = stream.map(lambda batch: {**batch, "n": [1] * len(batch["pooled"])}, batched=True, batch_size=7)
    assert [torch.equal(found["key.0"], row["key.0"]) for found, row in zip(batched, rows, strict=True)] == [True] * 20


# ---------------------------------------------------------------------------------------------------------- formats


def test_format_numpy_gives_float32_of_every_dtype(rows, stream):
    for found in (rows.with_format("numpy")[3], next(iter(stream.skip(3).with_format("numpy")))):
        for name in TENSORS:
            assert found[name].dtype == np.float32
            assert np.array_equal(found[name], rows[3][name].float().numpy())
    assert rows.with_format("numpy")[:3]["pooled"].shape == (3, 5)


@pytest.mark.filterwarnings("ignore:To copy construct")
def test_format_torch_gives_copies_in_the_stored_dtype(rows):
    found = rows.with_format("torch")[3]
    for name in TENSORS:
        assert type(found[name]) is torch.Tensor and found[name].dtype == rows[3][name].dtype
        assert torch.equal(found[name], rows[3][name])
        assert found[name].data_ptr() != rows[3][name].data_ptr()


def test_a_row_of_another_format_is_no_feature_set(rows, words):
    with pytest.raises(ScenarioError, match=r"holds a ndarray, not a tensor.*with_format\('safetensors'\)"):
        lamofcbench.feature_set(rows.with_format("numpy")[0], words.specs)


# --------------------------------------------------------------------------------------------------- stored tensors


def test_what_is_made_of_a_stored_tensor_is_an_ordinary_one(rows, words):
    stored = rows[0]["key.0"]
    assert isinstance(stored, StoredTensor) and stored.reference()["dtype"] == "bfloat16"
    for made in (stored + 1, stored[0], stored.clone(), stored.float(), copy.deepcopy(stored)):
        assert type(made) is torch.Tensor
    assert stored.detach().reference() == stored.reference()
    assert stored.numpy().dtype == np.asarray(stored).dtype == np.float32
    assert all(
        type(tensor) is torch.Tensor for tensor in lamofcbench.feature_set(rows[0], words.specs).tensors.values()
    )


def test_rows_are_read_and_mapped_in_inference_mode(rows, words):
    with torch.inference_mode():
        assert_same_tensors(rows.map(lambda row: {**row, "n": 1}), rows)
        assert torch.equal(lamofcbench.feature_set(rows[0], words.specs)["pooled"], rows[0]["pooled"])
        with pytest.raises(DataError, match=REFUSED):
            rows.map(lambda row: {**row, "pooled": row["pooled"].add_(0)})
        assert rows.with_format("numpy")[0]["key.0"].dtype == np.float32


def test_another_process_gets_the_values(rows):
    stored = rows[0]["key.0"]
    buffer = io.BytesIO()
    torch.save(stored, buffer)
    buffer.seek(0)
    for copied in (pickle.loads(pickle.dumps(stored)), torch.load(buffer, weights_only=True)):
        assert type(copied) is torch.Tensor and torch.equal(copied, stored)


@pytest.mark.parametrize(
    "changes",
    [{"file": None}, {"file": 3}, {"sha256": 3}, {"shape": None}, {"shape": "ab"}, {"shape": [None]}, {"shape": [-1]},
     {"key": None}, {"dtype": None}, {"file": "/absent/x-00000-of-00001-01234567.safetensors"}, {"file": "hf://x"}],
)  # fmt: skip
def test_references_that_cannot_be_followed_are_one_clear_line(rows, changes):
    reference = {**rows[0]["key.0"].reference(), **changes}
    with pytest.raises(DataError) as caught:
        feature.SafeTensor().decode_example(reference)
    assert "\n" not in str(caught.value)
