"""What the writer leaves on disk: exact tensors, plain files, whole datasets or nothing."""

import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.features import TORCH_DTYPES, FeatureSet
from lamofcbench.rasters import encode_mask
from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec
from lamofcbench.storage import DatasetWriter, open_split
from lamofcbench.storage.integrity import file_sha256
from lamofcbench.storage.writer import write_card

ROWS = Axis(name="rows", limit=100)


def scenario_of(name="user-mixed", dtypes=("float32", "float16", "bfloat16"), **changes):
    fields = {
        "id": name,
        "version": 1,
        "edition": "user",
        "category": "other",
        "title": "Mixed dtypes",
        "backbone": Backbone(adapter="none", source="none"),
        "splits": (0,),
        "tensors": tuple(TensorSpec(name=f"t.{d}", role="hidden", shape=(ROWS, 3), dtype=d) for d in dtypes),
        "side": ("width",),
        "prediction": "label",
        "metric": "none",
        "direction": "up",
        "batch_size": 1,
        "test_samples": 1,
        "calibration_samples": 0,
        "licence": "CC0-1.0",
    }
    return Scenario(**{**fields, **changes})


def features_of(scenario, rows, seed=0, side=5):
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for spec in scenario.tensors:
        values = torch.randn(rows, 3, generator=generator) * 10.0 ** torch.randint(
            -3, 5, (rows, 3), generator=generator
        )
        tensors[spec.name] = values.to(TORCH_DTYPES[spec.dtype])
    return FeatureSet(tensors, {"width": side})


def write(folder, scenario, samples, reference=0, shard_bytes=2**20, revision="r"):
    with DatasetWriter(folder, scenario, data_revision=revision, shard_bytes=shard_bytes) as writer:
        for index, features in enumerate(samples):
            writer.add("test", f"s{index}", features, reference=reference, content_sha256=f"{index:064x}")


def seen_in(folder):
    """What is there, but for the locks, which stay."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".locks")


def bits(tensor):
    return tensor.contiguous().view(torch.uint8) if tensor.numel() else tensor


def assert_same_bits(one, other):
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        assert one[name].shape == other[name].shape
        assert torch.equal(bits(one[name]), bits(other[name]))


def test_every_dtype_shape_and_special_value_comes_back_bit_for_bit(tmp_path):
    scenario = scenario_of()
    samples = [features_of(scenario, rows, seed=rows) for rows in (1, 7, 100, 0)]
    special = torch.tensor([[float("nan"), float("inf"), -0.0]])
    samples.append(
        FeatureSet({s.name: special.to(TORCH_DTYPES[s.dtype]) for s in scenario.tensors}, {"width": -(2**63)})
    )
    write(tmp_path, scenario, samples)
    reader = open_split(scenario, "test", tmp_path)
    assert len(reader) == 5
    for original, read in zip(samples, reader, strict=True):
        assert_same_bits(original, read)
        assert dict(read.side) == dict(original.side)


MASK = encode_mask(np.eye(2, dtype=np.uint8))


@pytest.mark.parametrize(
    ("prediction", "reference", "stored"),
    [
        ("text", "a word", "a word"),
        ("label", 7, 7),
        ("label", np.int32(7), 7),
        ("scores", 2.5, 2.5),
        ("scores", np.float32(2.5), 2.5),
        ("mask", MASK, MASK),
    ],
)
def test_references_keep_their_native_type(tmp_path, prediction, reference, stored):
    scenario = scenario_of(prediction=prediction)
    write(tmp_path, scenario, [features_of(scenario, 2)], reference=reference)
    read = open_split(scenario, "test", tmp_path).reference(0)
    assert read == stored and type(read) is type(stored)


def test_views_of_one_buffer_are_stored_as_tensors_of_their_own(tmp_path):
    scenario = scenario_of(dtypes=("float32",))
    buffer = torch.arange(30.0).reshape(10, 3)
    samples = [FeatureSet({"t.float32": buffer[i : i + 2]}, {"width": 1}) for i in range(8)]
    write(tmp_path, scenario, samples)
    expected = torch.arange(30.0).reshape(10, 3)
    buffer.zero_()  # as a model does that uses its buffer again
    assert torch.equal(open_split(scenario, "test", tmp_path).features(3)["t.float32"], expected[3:5])


def test_shards_close_at_their_limit_and_never_split_a_sample(tmp_path):
    scenario = scenario_of()
    sample_bytes = 10 * 3 * (4 + 2 + 2)
    write(tmp_path, scenario, [features_of(scenario, 10, seed=i) for i in range(7)], shard_bytes=2 * sample_bytes)
    files = sorted((tmp_path / "user-mixed").glob("*.safetensors"))
    names = [path.name for path in files]
    assert names == [f"test-{i:05d}-of-00004-{file_sha256(path)[:8]}.safetensors" for i, path in enumerate(files)]
    sizes = [len(load_file(tmp_path / "user-mixed" / name)) // 3 for name in names]
    assert sizes == [2, 2, 2, 1]
    assert [shard.samples for shard in open_split(scenario, "test", tmp_path).manifest.splits["test"].shards] == sizes


def test_every_file_gets_the_permissions_that_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path, scenario_of(), [features_of(scenario_of(), 3)])
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "user-mixed").iterdir() if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".parquet", ".safetensors"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


def test_the_index_is_plain_parquet_with_relative_paths(words_folder):
    table = pq.read_table(words_folder / "user-words" / "test.parquet")
    assert table.column_names == [
        "sample_id", "content_sha256", "reference", "side.seed", "hidden.1", "key.0", "pooled"
    ]  # fmt: skip
    assert not any(b"huggingface" in key for key in table.schema.metadata or {})
    row = table.to_pylist()[3]
    assert row["reference"] == "abababab3" and row["side.seed"] == 63
    assert row["key.0"]["dtype"] == "bfloat16" and row["key.0"]["shape"] == [2, 9, 3]
    tensors = load_file(words_folder / row["key.0"]["file"])  # relative to the dataset folder
    assert list(tensors[row["key.0"]["key"]].shape) == row["key.0"]["shape"]


def test_datasets_reads_the_folder_without_this_package(words_folder, tmp_path):
    code = f"""
import sys
from datasets import load_dataset
data = load_dataset({str(words_folder)!r}, "user-words", cache_dir={str(tmp_path)!r})
assert "lamofcbench" not in sys.modules
print({{split: len(rows) for split, rows in data.items()}}, data["test"][0]["pooled"]["dtype"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "{'test': 20, 'calibration': 6} float16"


def test_the_card_lists_every_scenario_and_keeps_what_people_wrote(tmp_path):
    first, second = scenario_of("user-a"), scenario_of("user-b")
    write(tmp_path, first, [features_of(first, 2)])
    card = (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text(
        card.replace("---\npretty", "---\nlicense: cc0-1.0\npretty") + "\nA line of mine.\n"
    )
    write(tmp_path, second, [features_of(second, 2)])
    card = (tmp_path / "README.md").read_text()
    front_matter = yaml.safe_load(card.split("---")[1])
    assert [config["config_name"] for config in front_matter["configs"]] == ["user-a", "user-b"]
    assert front_matter["configs"][1]["data_files"] == [{"split": "test", "path": "user-b/test.parquet"}]
    assert front_matter["license"] == "cc0-1.0" and "A line of mine." in card


def test_a_card_with_broken_front_matter_is_one_clear_error(tmp_path):
    (tmp_path / "README.md").write_text("---\n- not\n- a mapping\n---\n")
    with pytest.raises(DataError, match=r"front matter of .*README\.md"):
        write_card(tmp_path)


def test_an_error_while_building_leaves_the_former_dataset(tmp_path):
    scenario = scenario_of()
    write(tmp_path, scenario, [features_of(scenario, 2)], revision="old")
    with pytest.raises(RuntimeError), DatasetWriter(tmp_path, scenario, data_revision="new") as writer:
        writer.add("test", "s0", features_of(scenario, 3), reference=0, content_sha256="0" * 64)
        raise RuntimeError("the model fails")
    assert seen_in(tmp_path) == ["README.md", "user-mixed"]
    assert open_split(scenario, "test", tmp_path).data_revision == "old"


def _build_until_killed(words, builder, folder):
    references_of = builder.references

    def kill_at_the_last_sample(model, batch, features):
        if batch[-1].id == "calibration-5":
            os.kill(os.getpid(), signal.SIGKILL)
        return references_of(model, batch, features)

    builder.references = kill_at_the_last_sample
    builder.build(words, folder, progress=False, shard_bytes=2000)


def test_a_killed_build_leaves_nothing_that_a_reader_accepts_and_is_cleaned_up_next_time(
    tmp_path, words, words_builder
):
    child = multiprocessing.get_context("fork").Process(
        target=_build_until_killed, args=(words, words_builder, tmp_path)
    )
    child.start()
    child.join(timeout=60)
    assert child.exitcode == -signal.SIGKILL
    assert [name.startswith(".user-words.building-") for name in seen_in(tmp_path)] == [True]
    with pytest.raises(DataError, match="holds no dataset of 'user-words'"):
        open_split(words, "test", tmp_path)
    with pytest.raises(DataError, match="no test samples"), DatasetWriter(tmp_path, words, data_revision="x"):
        pass
    assert seen_in(tmp_path) == []


def test_wrong_features_ids_and_references_are_refused(tmp_path):
    scenario = scenario_of()
    good = features_of(scenario, 2)
    with DatasetWriter(tmp_path, scenario, data_revision="r") as writer:
        writer.add("test", "a", good, reference=1, content_sha256="0" * 64)
        with pytest.raises(DataError, match="two test samples have the id 'a'"):
            writer.add("test", "a", good, reference=1, content_sha256="0" * 64)
        for reference in ("1", None, 1.5, True, b"1"):
            with pytest.raises(DataError, match=r"test sample 1 \('b'\): the reference is of type \w+; .* all int64"):
                writer.add("test", "b", good, reference=reference, content_sha256="0" * 64)
        with pytest.raises(DataError, match=r"test sample 1 \('b'\): the reference 9223372036854775808 does not fit"):
            writer.add("test", "b", good, reference=2**63, content_sha256="0" * 64)
        for sample_id in (None, 3, "", "\ud800", "x" * 100_000):
            with pytest.raises(DataError, match=r"^user-mixed, test sample 1: the id .{1,120}$"):
                writer.add("test", sample_id, good, reference=1, content_sha256="0" * 64)
        with pytest.raises(ScenarioError, match=r"sample 'c': tensor 't\.float32' has dtype"):
            wrong = {name: tensor.double() for name, tensor in good.tensors.items()}
            writer.add("test", "c", FeatureSet(wrong, good.side), reference=1, content_sha256="0" * 64)
        with pytest.raises(DataError, match="unknown split 'train'"):
            writer.add("train", "d", good, reference=1, content_sha256="0" * 64)
        with pytest.raises(DataError, match=r"calibration sample 0 \('e'\) is in the other split, too"):
            writer.add("calibration", "e", good, reference=1, content_sha256="0" * 64)
    assert len(open_split(scenario, "test", tmp_path)) == 1


def test_references_are_of_one_type_throughout_the_dataset(tmp_path):
    scenario = scenario_of(prediction="scores")
    good = features_of(scenario, 2)
    with DatasetWriter(tmp_path, scenario, data_revision="r") as writer:
        writer.add("test", "a", good, reference=1, content_sha256="0" * 64)
        with pytest.raises(
            DataError, match=r"sample 1 \('b'\): the reference is of type float; references are all int64"
        ):
            writer.add("test", "b", good, reference=1.5, content_sha256="0" * 64)


def test_a_tensor_cannot_take_the_name_of_a_column(tmp_path):
    spec = TensorSpec(name="reference", role="hidden", shape=(2, 3), dtype="float32")
    scenario = scenario_of(tensors=(spec,), side=())
    features = FeatureSet({"reference": torch.zeros(2, 3)})
    with pytest.raises(ScenarioError, match="'reference', which is a column"):
        write(tmp_path, scenario, [features])


def test_the_manifest_names_everything_that_is_there(words_folder, words, words_builder):
    manifest = json.loads((words_folder / "user-words" / "manifest.json").read_text())
    assert manifest["scenario"] == "user-words" and manifest["scenario_version"] == 1
    assert manifest["scenario_digest"] == words.digest and manifest["data_revision"] == words_builder.revision()
    named = {"manifest.json"}
    for split in manifest["splits"].values():
        assert sum(shard["samples"] for shard in split["shards"]) == split["samples"]
        named |= {split["index"]["name"], *(shard["name"] for shard in split["shards"])}
    assert named == {path.name for path in (words_folder / "user-words").iterdir()}
    assert len(manifest["splits"]["test"]["shards"]) > 2
