"""What a hostile publisher makes, with hashes that agree: one short clear line, whichever way it is read."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lamofcbench
from lamofcbench.errors import DataError, LaMoFCBenchError, ScenarioError
from lamofcbench.storage import index, layout, open_split, shards
from lamofcbench.storage.integrity import file_sha256


def read_lean(scenario, folder, tmp_path):
    list(open_split(scenario, "test", folder))


def read_datasets(scenario, folder, tmp_path):
    list(lamofcbench.load_dataset(scenario, "test", data_dir=folder, cache_dir=tmp_path / "rows"))


def read_streaming(scenario, folder, tmp_path):
    list(lamofcbench.load_dataset(scenario, "test", data_dir=folder, streaming=True))


@pytest.fixture(params=[read_lean, read_datasets, read_streaming], ids=["lean", "datasets", "streaming"])
def refused(request, words, copied_folder, tmp_path):
    """Reads the spoilt folder; the message of the one error that may come."""

    def read(pattern):
        with pytest.raises((DataError, ScenarioError), match=pattern) as caught:
            request.param(words, copied_folder, tmp_path)
        message = str(caught.value)
        assert len(message) < 700 and message.isprintable()

    return read


@pytest.fixture(autouse=True)
def _forget_open_shards():
    shards._local.__dict__.clear()


def place(folder):
    return folder / "user-words"


def forged(folder, change):
    """Changes the manifest and lets its checksum agree."""
    path = place(folder) / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps({**manifest, "checksum": layout.json_checksum(manifest)}))


def forged_index(folder, content):
    path = place(folder) / "test.parquet"
    path.write_bytes(content)
    known = {"name": path.name, "size_bytes": len(content), "sha256": file_sha256(path)}
    forged(folder, lambda manifest: manifest["splits"]["test"].update(index=known))


# ------------------------------------------------------------------------------------------------------- manifests


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, '{"format_version": ' + "9" * 100_000 + "}"])
def test_a_manifest_that_is_nested_or_numbered_beyond_measure(copied_folder, refused, text):
    (place(copied_folder) / "manifest.json").write_text(text)
    refused("manifest .* cannot be read|has format version")


@pytest.mark.parametrize("depth", [100, 400, 900])
def test_a_manifest_nested_as_deep_as_can_be_read(copied_folder, refused, depth):
    forged(copied_folder, lambda manifest: manifest.update(scenario=json.loads("[" * depth + "]" * depth)))
    refused("manifest .* is damaged: scenario")


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update({LONG: 1}),
        lambda m: m.update({"two\nlines": 1}),
        lambda m: m.update(format_version=LONG),
        lambda m: m.update(format_version=[LONG]),
        lambda m: m.update(scenario=LONG),
        lambda m: m.update(scenario="two\nlines"),
        lambda m: m.update(scenario_version=10**4000),
        lambda m: m.update(features={"tensors": [{LONG: LONG}]}),
        lambda m: m["features"]["tensors"][0].update(name=LONG),
        lambda m: m["features"]["tensors"][0].update(shape=[-1]),
        lambda m: m["splits"].update({LONG: {}}),
        lambda m: m["splits"]["test"].update(samples=10**30),
        lambda m: m["splits"]["test"]["index"].update(name=LONG + ".parquet"),
        lambda m: m["splits"]["test"]["shards"][0].update(name=LONG + ".safetensors"),
        lambda m: m["splits"]["test"]["shards"][0].update(size_bytes=10**30),
        lambda m: m["splits"]["test"].update(shards=[]),
        lambda m: m.update(splits=[]),
        lambda m: m.update(reference=None),
        lambda m: m["splits"]["test"]["shards"].reverse(),
    ],
)
def test_a_manifest_whose_fields_are_hostile(copied_folder, refused, change):
    forged(copied_folder, change)
    refused("user-words")


def test_a_manifest_that_was_changed_by_hand(copied_folder, refused):
    path = place(copied_folder) / "manifest.json"
    path.write_text(path.read_text().replace('"data_revision": "', '"data_revision": "0'))
    refused("its checksum is not that of its content")


def test_a_manifest_without_end(copied_folder, refused, monkeypatch):
    monkeypatch.setattr(layout, "MAX_MANIFEST_BYTES", 100)
    refused("it is larger than 100 bytes")


def test_a_shard_that_lies_about_its_name(copied_folder, refused):
    forged(copied_folder, lambda m: m["splits"]["test"]["shards"][0].update(sha256="0" * 64))
    refused("not named by their content")


@pytest.mark.parametrize("name", ["manifest.json", "test.parquet"])
def test_pipes_are_not_waited_for(copied_folder, refused, name):
    (place(copied_folder) / name).unlink()
    os.mkfifo(place(copied_folder) / name)
    forged(copied_folder, lambda m: None) if name != "manifest.json" else None
    refused("holds no dataset|is no regular file")


# --------------------------------------------------------------------------------------------------------- indices


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row["key.0"].update(file=LONG),
        lambda row: row["key.0"].update(file="two\nlines"),
        lambda row: row["key.0"].update(key=LONG),
        lambda row: row["key.0"].update(key="__metadata__"),
        lambda row: row["key.0"].update(dtype=LONG),
        lambda row: row["key.0"].update(shape=[1] * 100_000),
        lambda row: row["key.0"].update(shape=[2**62, 2**62, 3]),
    ],
)
def test_rows_whose_fields_are_hostile(copied_folder, refused, tamper_index, change):
    tamper_index(copied_folder, lambda rows: change(rows[0]))
    refused("user-words")


def test_text_that_is_no_text(copied_folder, refused):
    table = pq.read_table(place(copied_folder) / "test.parquet")
    broken = pa.array([b"\xff\xfe"] * len(table)).cast(pa.string(), safe=False)
    at = table.column_names.index("sample_id")
    sink = pa.BufferOutputStream()
    pq.write_table(table.set_column(at, table.schema.field(at), broken), sink)
    forged_index(copied_folder, sink.getvalue().to_pybytes())
    refused("test.parquet cannot be read")


def test_an_index_whose_footer_is_noise(copied_folder, refused):
    content = bytearray((place(copied_folder) / "test.parquet").read_bytes())
    content[-200:-8] = b"\x7f" * 192
    forged_index(copied_folder, bytes(content))
    refused("test.parquet cannot be read")


@pytest.mark.parametrize("limit", ["MAX_GROUP_ROWS", "MAX_GROUP_BYTES"])
def test_rows_that_would_fill_the_memory(copied_folder, refused, monkeypatch, limit):
    monkeypatch.setattr(index, limit, 10)
    refused("claims rows too large to read at once")


def test_a_long_text_that_the_file_says_once_and_the_rows_repeat(copied_folder, refused, monkeypatch):
    monkeypatch.setattr(index, "MAX_GROUP_BYTES", 2**21)
    table = pq.read_table(place(copied_folder) / "test.parquet")
    at = table.column_names.index("sample_id")
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * len(table), pa.int32()), pa.array(["x" * 2**20]))
    sink = pa.BufferOutputStream()
    pq.write_table(table.set_column(at, "sample_id", repeated), sink, compression="zstd", store_schema=False)
    assert sink.tell() < 2**16
    forged_index(copied_folder, sink.getvalue().to_pybytes())
    refused(r"test\.parquet cannot be read: it takes more than \d+ bytes of memory")


# ---------------------------------------------------------------------------------------------------------- shards


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 5_000,
        b'{"a":' * 5_000,
        json.dumps({"00000000/key.0": {"dtype": "BF16", "shape": [2, 3, 3], "data_offsets": [0, 10**18]}}).encode(),
        json.dumps({"00000000/key.0": {"dtype": "BF16", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}).encode(),
        json.dumps({"00000000/key.0": {"dtype": "BF16", "shape": [-1], "data_offsets": [0, 8]}}).encode(),
        json.dumps({"00000000/key.0": {"dtype": LONG, "shape": [1], "data_offsets": [0, 4]}}).encode(),
        json.dumps({"__metadata__": {LONG: LONG}}).encode(),
    ],
)
def test_headers_that_are_hostile(copied_folder, refused, tamper_shard, header):
    tamper_shard(copied_folder, len(header).to_bytes(8, "little") + header + bytes(8))
    refused("user-words/test-00000")


# ---------------------------------------------------------------------------------------------------- names by users


@pytest.mark.parametrize("folder", ["x" * 5_000, "a\0b", "two\nlines", "~nobody-of-that-name/x"])
def test_folders_that_cannot_be(words, folder):
    with pytest.raises(DataError) as caught:
        open_split(words, "test", folder)
    assert len(str(caught.value)) < 700 and str(caught.value).isprintable()


def test_splits_that_cannot_be(words, words_folder, tmp_path):
    for split in ("x" * 100_000, "test[\n:]", "test[" + "9" * 5_000 + ":]"):
        with pytest.raises(LaMoFCBenchError) as caught:
            lamofcbench.load_dataset(words, split, data_dir=words_folder, cache_dir=tmp_path)
        assert len(str(caught.value)) < 700 and str(caught.value).isprintable()
