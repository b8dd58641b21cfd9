"""Damaged, missing, foreign and hostile data: one clear error each, whichever way they are read."""

import json

import pytest

import lamofcbench
from lamofcbench.errors import DataError, LaMoFCBenchError, ScenarioError, UnknownNameError
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split, shards
from lamofcbench.storage.layout import check_manifest


def read_lean(scenario, folder, tmp_path):
    return list(open_split(scenario, "test", folder))


def read_datasets(scenario, folder, tmp_path):
    return list(lamofcbench.load_dataset(scenario, "test", data_dir=folder, cache_dir=tmp_path / "rows"))


def read_streaming(scenario, folder, tmp_path):
    return list(
        lamofcbench.load_dataset(scenario, "test", data_dir=folder, streaming=True, cache_dir=tmp_path / "rows")
    )


@pytest.fixture(params=[read_lean, read_datasets, read_streaming], ids=["lean", "datasets", "streaming"])
def read(request, words, tmp_path):
    def read_all(folder):
        assert len(request.param(words, folder, tmp_path)) == 20

    return read_all


def refused(read, folder, pattern):
    with pytest.raises(LaMoFCBenchError, match=pattern) as caught:
        read(folder)
    assert isinstance(caught.value, DataError) and "\n" not in str(caught.value)


def shard_of(folder, number=1):
    return sorted((folder / "user-words").glob("test-*.safetensors"))[number]


def test_whole_data_are_read(read, copied_folder):
    read(copied_folder)


def test_a_flipped_byte_in_a_shard(read, copied_folder):
    read(copied_folder)  # what was verified before is verified again after a change
    path = shard_of(copied_folder)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    refused(read, copied_folder, r"test-00001-of-\d+-\w{8}\.safetensors is damaged: its sha256")


def test_a_truncated_shard(read, copied_folder):
    path = shard_of(copied_folder)
    path.write_bytes(path.read_bytes()[:-5])
    refused(read, copied_folder, r"test-00001-of-\S+ is damaged: it has \d+ bytes, its manifest says")


def test_a_missing_shard(read, copied_folder):
    shard_of(copied_folder).unlink()
    refused(read, copied_folder, r"test-00001-of-\d+-\w{8}\.safetensors is missing")


def test_a_missing_index(read, copied_folder):
    (copied_folder / "user-words" / "test.parquet").unlink()
    refused(read, copied_folder, r"test\.parquet is missing")


def test_a_damaged_index(read, copied_folder):
    path = copied_folder / "user-words" / "test.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    refused(read, copied_folder, r"test\.parquet is damaged")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format_version": 2}', b'{"format_version": 1}'])
def test_a_damaged_manifest(words, copied_folder, content):
    (copied_folder / "user-words" / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match=r"manifest .*manifest\.json (cannot be read|has format version|is damaged)"):
        open_split(words, "test", copied_folder)


def test_the_manifest_of_another_scenario_or_version(words, copied_folder, tamper_manifest):
    tamper_manifest(copied_folder, lambda manifest: manifest.update(scenario_version=2))
    with pytest.raises(DataError, match="holds user-words@2, not user-words@1"):
        open_split(words, "test", copied_folder)
    tamper_manifest(copied_folder, lambda manifest: manifest.update(scenario="other", scenario_version=1))
    with pytest.raises(DataError, match="holds other@1, not user-words@1"):
        open_split(words, "test", copied_folder)


def test_a_declaration_changed_without_a_new_version(words, words_folder):
    changed = words.model_copy(update={"tensors": words.tensors[:2]})
    with pytest.raises(DataError, match="other tensors than user-words@1 declares"):
        open_split(changed, "test", words_folder)


def test_an_unknown_scenario_names_near_ones():
    with pytest.raises(UnknownNameError, match="did you mean 'mini-cvu-digits'"):
        open_split("mini-cvu-digit")
    with pytest.raises(UnknownNameError, match="did you mean 'mini-cvu-digits'"):
        lamofcbench.load_dataset("mini-cvu-digit")


@pytest.mark.parametrize("split", ["tset", "tset[:3]", "test+tset"])
def test_an_unknown_split_names_near_ones(words, words_folder, split, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown split of user-words 'tset'; did you mean 'test'"):
        lamofcbench.load_dataset(words, split, data_dir=words_folder, cache_dir=tmp_path)
    with pytest.raises(UnknownNameError, match="unknown split of user-words"):
        open_split(words, split, words_folder)


def test_a_slice_that_makes_no_sense_is_one_clear_error(words, words_folder, tmp_path):
    with pytest.raises(DataError, match=r"split 'test\[:x\]' cannot be read"):
        lamofcbench.load_dataset(words, "test[:x]", data_dir=words_folder, cache_dir=tmp_path)


def test_a_full_scenario_without_data_says_what_to_pass():
    full = next(scenario for scenario in SCENARIOS if scenario.edition == "full")
    for read in (open_split, lamofcbench.load_dataset):
        with pytest.raises(DataError, match=r"pass --data FOLDER .* in Python data_dir='FOLDER' or repo='org/name'"):
            read(full.id)


def test_contradicting_places_are_refused(words, words_folder):
    with pytest.raises(DataError, match="not both"):
        open_split(words, "test", words_folder, repo="org/name")
    with pytest.raises(DataError, match="pass repo="):
        open_split(words, "test", words_folder, revision="main")


@pytest.mark.parametrize(
    "file",
    [
        "/etc/passwd",
        "../x/test-00000-of-00001.safetensors",
        "user-words/../../x",
        "other/test.safetensors",
        "",
    ],
)
def test_an_index_that_points_elsewhere_is_refused(read, copied_folder, tamper_index, file):
    def change(rows):
        rows[7]["key.0"]["file"] = file

    tamper_index(copied_folder, change)
    refused(read, copied_folder, r"row 7 of .*places tensor 'key\.0' in .*no shard of this split")


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda row: row["key.0"].update(dtype="float32"), "says that tensor 'key.0' is float32"),
        (lambda row: row["key.0"].update(shape=[2, 10**12, 3]), "which the scenario does not allow"),
        (lambda row: row["key.0"].update(shape=[2, -1, 3]), "which the scenario does not allow"),
        (lambda row: row["key.0"].update(shape=[2, None, 3]), "which the scenario does not allow"),
        (lambda row: row["key.0"].update(shape=None), "which the scenario does not allow"),
        (lambda row: row.update(pooled=None), "has no 'pooled'"),
        (lambda row: row.update(reference=None), "has no 'reference'"),
        (lambda row: row["key.0"].update(key="99999999/key.0"), "does not hold the tensor '99999999/key.0'"),
        (lambda row: row["key.0"].update(key=None), "does not hold the tensor None"),
        (lambda row: row["hidden.1"].update(shape=[1, 6]), "its index says float32 .1, 6."),
        (lambda row: row["key.0"].update(row["pooled"], dtype="bfloat16", shape=[2, 9, 3]), "its index says bfloat16"),
    ],
)
def test_an_index_that_lies_about_tensors_is_refused(read, copied_folder, tamper_index, change, pattern):
    tamper_index(copied_folder, lambda rows: change(rows[4]))
    refused(read, copied_folder, pattern)


def test_an_index_with_fewer_rows_than_its_manifest_says_is_refused(read, copied_folder, tamper_index, tamper_manifest):
    tamper_index(copied_folder, lambda rows: rows[:3])
    tamper_manifest(copied_folder, lambda manifest: manifest["splits"]["test"].update(samples=20))
    refused(read, copied_folder, "is not what its manifest describes")


@pytest.mark.parametrize("name", ["../x.safetensors", "/x.safetensors", "a/b.safetensors", "test.parquet.exe", ".."])
def test_a_manifest_that_names_files_elsewhere_is_refused(words, copied_folder, tamper_manifest, name):
    tamper_manifest(copied_folder, lambda manifest: manifest["splits"]["test"]["shards"][0].update(name=name))
    with pytest.raises(DataError, match="is damaged"):
        open_split(words, "test", copied_folder)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8 + b"{}", (2**40).to_bytes(8, "little"), b"\x02" + bytes(7) + b"{}"]
)
def test_a_shard_that_is_no_safetensors_file_is_refused(read, copied_folder, tamper_shard, content):
    tamper_shard(copied_folder, content)
    refused(read, copied_folder, "cannot be read|does not hold the tensor")


def header_of(content):
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def with_header(header, data):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_overlapping_tensors_in_a_shard_are_refused(words, copied_folder, tamper_shard):
    header, data = header_of(shard_of(copied_folder, 0).read_bytes())
    names = [name for name in header if name != "__metadata__"]
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]
    tamper_shard(copied_folder, with_header(header, data))
    with pytest.raises(DataError, match="cannot be read"):
        list(open_split(words, "test", copied_folder))


def test_a_row_that_names_the_metadata_of_a_shard_is_refused(read, copied_folder, tamper_shard, tamper_index):
    header, data = header_of(shard_of(copied_folder, 0).read_bytes())
    tamper_shard(copied_folder, with_header({"__metadata__": {"shape": "x"}, **header}, data))
    tamper_index(copied_folder, lambda rows: rows[0]["key.0"].update(key="__metadata__"))
    refused(read, copied_folder, "does not hold the tensor '__metadata__'")


def test_tensors_that_disagree_on_a_common_axis_are_refused(words, copied_folder, tamper_index):
    def swap(rows):  # both tensors exist and are what the index says, but of two samples
        rows[0]["key.0"], rows[1]["key.0"] = rows[1]["key.0"], rows[0]["key.0"]

    tamper_index(copied_folder, swap)
    with pytest.raises(DataError, match=r"sample 0 of .*tensor 'key\.0' has shape"):
        open_split(words, "test", copied_folder).features(0)
    row = lamofcbench.load_dataset(words, "test", data_dir=copied_folder, cache_dir=copied_folder / "rows")[0]
    with pytest.raises(ScenarioError, match=r"tensor 'key\.0' has shape"):
        lamofcbench.feature_set(row, words.specs)


@pytest.fixture(autouse=True)
def _forget_open_shards():
    shards._local.__dict__.clear()


def test_features_are_readable_whether_or_not_keys_stated_a_rotary_base_when_they_were_stored():
    scenario = SCENARIOS.get("mini-clu-facts")
    manifest = open_split(scenario, "test").manifest
    for base in (None, 1e4, 5e5):  # at most one is what the manifest says
        tensors = [
            spec.model_copy(update={"rotary_base": base}) if spec.role == "key" else spec for spec in scenario.tensors
        ]
        check_manifest(manifest, scenario.model_copy(update={"tensors": tuple(tensors)}), "here")
    with pytest.raises(DataError, match="other tensors"):
        check_manifest(manifest, scenario.model_copy(update={"tensors": tuple(tensors[:-1])}), "here")
