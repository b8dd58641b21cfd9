"""Data that are built again in the same place: what was opened before gives the old samples or one clear error."""

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
from contextlib import nullcontext

import datasets
import pytest
import torch

import lamofcbench
from lamofcbench.builders import Sample
from lamofcbench.errors import DataError
from lamofcbench.processes import machine
from lamofcbench.storage import DatasetWriter, open_split, shards
from lamofcbench.storage.building import building
from lamofcbench.storage.integrity import file_sha256, state_of
from lamofcbench.storage.layout import MANIFEST_FILE, read_manifest
from lamofcbench.storage.sources import Source

SHARD_BYTES = 2_000
BUILT_AGAIN = r"was built again .*(open it again|load the dataset again)"


def reversed_order(samples):
    """Every id has another sample; the samples are the same."""
    contents = samples[::-1]
    return [Sample(old.id, new.inputs, new.reference) for old, new in zip(samples, contents, strict=True)]


def other_values(samples):
    """The same ids, references and shapes, with other tensors."""
    return [Sample(old.id, old.inputs.replace("a", "c"), old.reference) for old in samples]


def other_references(samples):
    """The same tensors, so also the same shards, with other references."""
    return [Sample(old.id, old.inputs, f"not {old.reference}") for old in samples]


@pytest.fixture(params=[reversed_order, other_values, other_references])
def change(request):
    return request.param


@pytest.fixture
def folder(words, words_builder, tmp_path):
    words_builder.build(words, tmp_path / "data", progress=False, shard_bytes=SHARD_BYTES)
    return tmp_path / "data"


@pytest.fixture
def rebuild(words, words_builder, folder, monkeypatch):
    """Builds other data, made of the first by a function, into the same folder."""
    samples_of = type(words_builder).samples

    def build(change):
        with monkeypatch.context() as patch:
            patch.setattr(type(words_builder), "samples", lambda self, split: change(samples_of(self, split)))
            words_builder.build(words, folder, progress=False, shard_bytes=SHARD_BYTES)

    return build


@pytest.fixture(autouse=True)
def _forget_open_shards():
    shards._local.__dict__.clear()


def everything(reader):
    """Each sample: id, reference, tensors."""
    return [sample_of(reader, index) for index in range(len(reader))]


def sample_of(reader, index):
    tensors = reader.features(index).tensors
    return reader.sample_id(index), reader.reference(index), {name: t.clone() for name, t in tensors.items()}


def of_row(row, words):
    tensors = lamofcbench.feature_set(row, words.specs).tensors
    return row["sample_id"], row["reference"], {name: tensor.clone() for name, tensor in tensors.items()}


def same(one, other):
    names_agree = one[:2] == other[:2] and one[2].keys() == other[2].keys()
    return names_agree and all(torch.equal(one[2][name], other[2][name]) for name in one[2])


def old_or_refused(read, old):
    """Reads every sample; each is the old one or refused as built again. Returns how many were refused."""
    refused = 0
    for index, sample in enumerate(old):
        try:
            assert same(read(index), sample)
        except DataError as error:
            assert "was built again" in str(error) and "\n" not in str(error)
            refused += 1
    return refused


# -------------------------------------------------------------------------------------------------------- readers


def test_a_reader_that_has_read_nothing_yet_refuses_other_data(words, folder, rebuild, change):
    reader = open_split(words, "test", folder)
    rebuild(change)
    for read in (reader.sample_id, reader.reference, reader.features, reader.row):
        with pytest.raises(DataError, match=BUILT_AGAIN):
            read(0)
    with pytest.raises(DataError, match=BUILT_AGAIN):
        reader.check()


def test_a_reader_in_use_gives_old_samples_or_refuses(words, folder, rebuild, change):
    reader = open_split(words, "test", folder)
    old = everything(reader)
    rebuild(change)
    assert old_or_refused(lambda index: sample_of(reader, index), old) == 0  # all was open
    half_open = open_split(words, "test", folder)
    new = everything(half_open)
    assert not any(same(*pair) for pair in zip(old, new, strict=True)) or change is reversed_order
    half_open = open_split(words, "test", folder)
    shards._local.__dict__.clear()
    assert same(sample_of(half_open, 0), new[0])
    rebuild(lambda samples: samples)
    refused = old_or_refused(lambda index: sample_of(half_open, index), new)
    assert refused == 0 if change is other_references else 0 < refused < 20


def test_a_pickled_reader_gives_old_samples_or_refuses(words, folder, rebuild, change):
    reader = open_split(words, "test", folder)
    old = everything(reader)
    pickled = pickle.dumps(reader)
    rebuild(change)
    assert old_or_refused(lambda index: sample_of(pickle.loads(pickled), index), old) == 20


def test_a_reader_of_data_that_were_removed_says_so(words, folder):
    reader = open_split(words, "test", folder)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="built again or removed since it was opened"):
        reader.features(0)


def test_data_built_again_alike_go_on_being_read(words, folder, rebuild):
    reader = open_split(words, "test", folder)
    rebuild(lambda samples: samples)
    assert len(everything(reader)) == 20


def test_a_build_between_manifest_and_index_is_noticed(words, folder, rebuild, change, monkeypatch):
    read = Source.manifest

    def read_and_rebuild(self, scenario):
        manifest = read(self, scenario)
        monkeypatch.setattr(Source, "manifest", read)
        rebuild(change)
        return manifest

    monkeypatch.setattr(Source, "manifest", read_and_rebuild)
    with pytest.raises(DataError, match=BUILT_AGAIN):
        open_split(words, "test", folder)


def test_the_moment_in_which_a_folder_is_replaced_is_waited_out(words, folder):
    place, aside = folder / "user-words", folder / ".aside"
    place.rename(aside)
    threading.Timer(0.03, lambda: aside.rename(place)).start()
    assert len(open_split(words, "test", folder)) == 20


# -------------------------------------------------------------------------------------------------------- datasets


def prepared(words, folder, tmp_path):
    return lamofcbench.load_dataset(words, "test", data_dir=folder, cache_dir=tmp_path / "rows")


def saved(words, folder, tmp_path):
    prepared(words, folder, tmp_path).save_to_disk(tmp_path / "saved")
    return datasets.load_from_disk(tmp_path / "saved")


def mapped(words, folder, tmp_path):
    return prepared(words, folder, tmp_path).map(lambda row: {**row, "n": 1})


@pytest.mark.parametrize("load", [prepared, saved, mapped])
def test_prepared_rows_give_old_samples_or_refuse(words, folder, rebuild, change, tmp_path, load):
    old = everything(open_split(words, "test", folder))
    rows = load(words, folder, tmp_path)
    rebuild(change)
    shards._local.__dict__.clear()
    refused = old_or_refused(lambda index: of_row(rows[index], words), old)
    assert refused == (0 if change is other_references else 20)


@pytest.mark.parametrize("open_shards", ["kept", "forgotten"])
def test_a_stream_gives_old_samples_or_refuses(words, folder, rebuild, change, open_shards):
    old = everything(open_split(words, "test", folder))
    started = iter(lamofcbench.load_dataset(words, "test", data_dir=folder, streaming=True))
    read = [of_row(next(started), words)]
    rebuild(change)
    if open_shards == "forgotten":
        shards._local.__dict__.clear()
    refuses = open_shards == "forgotten" and change is not other_references
    with pytest.raises(DataError, match=BUILT_AGAIN) if refuses else nullcontext():
        read.extend(of_row(row, words) for row in started)
    assert len(read) == (1 if refuses else 20)
    assert all(same(*pair) for pair in zip(read, old, strict=False))


def test_rows_prepared_earlier_do_not_come_back_for_new_data(words, folder, rebuild, change, tmp_path):
    prepared(words, folder, tmp_path)
    rebuild(change)
    new = everything(open_split(words, "test", folder))
    rows = prepared(words, folder, tmp_path)
    assert all(same(of_row(row, words), sample) for row, sample in zip(rows, new, strict=True))


def test_a_build_while_rows_are_prepared_does_not_spoil_their_cache(words, folder, rebuild, tmp_path, monkeypatch):
    from lamofcbench.storage.builder import LaMoFCBench

    prepare = LaMoFCBench.download_and_prepare
    old = everything(open_split(words, "test", folder))

    def rebuild_and_prepare(self, *args, **options):
        rebuild(reversed_order)
        return prepare(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LaMoFCBench, "download_and_prepare", rebuild_and_prepare)
        with pytest.raises(DataError, match=BUILT_AGAIN):
            prepared(words, folder, tmp_path)
    rebuild(lambda samples: samples)
    rows = prepared(words, folder, tmp_path)
    assert all(same(of_row(row, words), sample) for row, sample in zip(rows, old, strict=True))


# ------------------------------------------------------------------------------------------------------- format 1


def as_format_1(folder):
    """Gives the shards of a dataset the names that they had before, which say nothing of their content."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = folder / "user-words"
    manifest = json.loads((place / MANIFEST_FILE).read_text())
    for split, record in manifest["splits"].items():
        path = place / record["index"]["name"]
        table = pq.read_table(path)
        text = json.dumps(table.to_pylist())
        for shard in record["shards"]:
            name = shard["name"][: -len("-01234567.safetensors")] + ".safetensors"
            (place / shard["name"]).rename(place / name)
            text = text.replace(shard["name"], name)
            shard["name"] = name
        pq.write_table(pa.Table.from_pylist(json.loads(text), schema=table.schema), path)
        record["index"] = {"name": path.name, "size_bytes": path.stat().st_size, "sha256": file_sha256(path)}
        manifest["splits"][split] = record
    del manifest["checksum"], manifest["builder"]
    (place / MANIFEST_FILE).write_text(json.dumps({**manifest, "format_version": 1}))


def test_a_folder_of_format_1_is_still_read(words, folder, tmp_path):
    new = everything(open_split(words, "test", folder))
    as_format_1(folder)
    assert (folder / "user-words" / "calibration-00000-of-00001.safetensors").is_file()
    reader = open_split(words, "test", folder)
    assert reader.manifest.format_version == 1
    assert all(same(*pair) for pair in zip(everything(reader), new, strict=True))
    rows = prepared(words, folder, tmp_path)
    assert all(same(of_row(row, words), sample) for row, sample in zip(rows, new, strict=True))


def test_names_that_say_nothing_of_their_content_are_told_apart_by_their_hash(words, folder, rebuild, tmp_path):
    as_format_1(folder)
    old = everything(open_split(words, "test", folder))
    reader, rows = open_split(words, "test", folder), prepared(words, folder, tmp_path)
    rebuild(other_values)
    as_format_1(folder)
    shards._local.__dict__.clear()
    assert old_or_refused(lambda index: sample_of(reader, index), old) == 20
    assert old_or_refused(lambda index: of_row(rows[index], words), old) == 20


def test_a_reference_of_an_older_version_that_has_no_hash_is_followed(words, folder):
    row = open_split(words, "test", folder).row(3)
    reference = {name: row["key.0"][name] for name in ("file", "key", "dtype", "shape")}
    tensor = lamofcbench.storage.feature.SafeTensor().decode_example(reference)
    assert torch.equal(tensor, open_split(words, "test", folder).features(3)["key.0"])


# ---------------------------------------------------------------------------------------------------------- locks


def test_the_second_of_two_builds_waits_says_for_whom_and_takes_what_is_there(
    words, words_builder, tmp_path, monkeypatch, caplog
):
    builder_class = type(words_builder)
    build, builds, begun, go_on = builder_class._build, [], threading.Event(), threading.Event()

    def counted(self, *args, **options):
        builds.append(threading.current_thread().name)
        begun.set()
        assert go_on.wait(30)
        return build(self, *args, **options)

    monkeypatch.setattr(builder_class, "_build", counted)
    first = threading.Thread(target=lambda: words_builder.build(words, tmp_path, progress=False))
    first.start()
    assert begun.wait(30)
    second = threading.Thread(target=lambda: words_builder.build(words, tmp_path, progress=False))
    second.start()
    while not caplog.messages:
        second.join(0.01)
    go_on.set()
    first.join()
    second.join()
    assert len(builds) == 1
    (line,) = caplog.messages
    holder = f"process {os.getpid()} on {os.uname().nodename}"
    assert line.startswith(f"waiting for {holder}, which has been building user-words in {tmp_path} since ")
    assert len(open_split(words, "test", tmp_path)) == 20


def test_a_build_that_did_not_wait_builds_anew(words, words_builder, folder):
    before = (folder / "user-words" / MANIFEST_FILE).stat().st_ino
    words_builder.build(words, folder, progress=False)
    assert (folder / "user-words" / MANIFEST_FILE).stat().st_ino != before


def test_who_waited_for_other_data_builds_its_own(words, words_builder, folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(type(words_builder), "revision", lambda self: "another")
        words_builder.build(words, folder, progress=False)
    place = folder / "user-words"
    assert not words_builder._was_built(words, place, None)
    words_builder.build(words, folder, progress=False)
    assert words_builder._was_built(words, place, None)
    assert not words_builder._was_built(words, place, state_of((place / MANIFEST_FILE).stat()))  # it was there before
    monkeypatch.setattr("dataset_builders.base.features_identity", lambda scenario, builder: "edited since")
    assert not words_builder._was_built(words, place, None)


def _hold(folder, ready):
    with building(folder, "user-words"):
        ready.set()
        signal.pause()


def test_a_killed_build_blocks_nobody(words, words_builder, tmp_path, caplog):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    child = context.Process(target=_hold, args=(tmp_path, ready))
    child.start()
    assert ready.wait(30)
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    words_builder.build(words, tmp_path, progress=False)
    assert len(open_split(words, "test", tmp_path)) == 20 and not caplog.messages


def test_data_that_a_killed_build_took_away_are_put_back(words, folder):
    prefix = f".user-words.building-{machine()}-"
    (folder / "user-words").rename(folder / f"{prefix}999999999-0123abcd-old")
    with pytest.raises(RuntimeError), DatasetWriter(folder, words, data_revision="x"):
        raise RuntimeError("the next build fails too")
    assert len(open_split(words, "test", folder)) == 20


def test_the_manifest_says_which_code_built_the_data(words, words_folder, tmp_path):
    assert ":WordBuilder#" in read_manifest(words_folder / "user-words" / MANIFEST_FILE).builder
    reader = open_split(words, "test", words_folder)
    with DatasetWriter(tmp_path, words, data_revision="x", builder_identity="words@1") as writer:
        writer.add("test", "a", reader.features(0), reference="a", content_sha256="0" * 64)
    assert read_manifest(tmp_path / "user-words" / MANIFEST_FILE).builder == "words@1"
