"""The lean path: samples by position, mapped, checked once, in any number of processes and threads."""

import multiprocessing
import os
import pickle
import threading

import pytest
import torch

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.storage import feature_set, integrity, open_split, shards


@pytest.fixture(autouse=True)
def _forget_what_was_verified(monkeypatch, tmp_path):
    monkeypatch.setenv("LAMOFCBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(integrity, "_verified", set())
    shards._local.__dict__.clear()


def expected(builder, words, split="test"):
    from dataset_builders.base import stored_features
    from lamofcbench.models.base import MODELS

    model = MODELS.get(words.backbone.adapter, relative_to=words.origin).load(words, None, "cpu")
    return [(sample, stored_features(model, sample, words)) for sample in builder.samples(split)]


def fingerprint(features):
    return [(name, str(t.dtype), tuple(t.shape), t.double().sum().item()) for name, t in features.tensors.items()]


@pytest.mark.parametrize("split", ["test", "calibration"])
def test_samples_come_in_their_order_with_everything_the_front_gave(words, words_builder, words_folder, split):
    samples = open_split(words, split, words_folder)
    assert samples.data_revision == words_builder.revision()
    originals = expected(words_builder, words, split)
    assert len(samples) == len(originals)
    for index, (sample, features) in enumerate(originals):
        assert samples.sample_id(index) == sample.id
        assert samples.reference(index) == sample.reference
        assert samples.content_sha256(index) == words_builder.content_hash(sample)
        read = samples.features(index)
        assert list(read) == [spec.name for spec in words.tensors]
        assert dict(read.side) == dict(features.side)
        for name in read:
            assert read[name].dtype == features[name].dtype and torch.equal(read[name], features[name])


def test_the_tail_reads_the_words_back(words, words_builder, words_folder):
    from lamofcbench.models.base import MODELS

    model = MODELS.get(words.backbone.adapter, relative_to=words.origin).load(words, None, "cpu")
    samples = open_split(words, "test", words_folder)
    assert model.tail(list(samples)) == [samples.reference(i) for i in range(len(samples))]


def test_positions_outside_the_split_are_index_errors(words, words_folder):
    samples = open_split(words, "test", words_folder)
    for index in (-1, 20):
        with pytest.raises(IndexError):
            samples.features(index)


def test_tensors_outlive_their_shard_and_never_change_the_file(words, words_folder, monkeypatch):
    monkeypatch.setattr(shards, "MAX_OPEN_SHARDS", 1)
    samples = open_split(words, "test", words_folder)
    first = samples.features(0)["hidden.1"]
    kept = first.clone()
    for features in samples:  # opens and closes every shard
        assert features["pooled"].isfinite().all()
    assert torch.equal(first, kept)
    first.zero_()  # against the rules, but private to this process
    shards._local.__dict__.clear()
    assert torch.equal(open_split(words, "test", words_folder).features(0)["hidden.1"], kept)


def test_files_are_hashed_once_and_the_memory_outlives_the_process(words, words_folder, monkeypatch):
    hashed = []
    original = integrity.content_sha256
    monkeypatch.setattr(integrity, "content_sha256", lambda file: hashed.append(file.name) or original(file))
    count = len(open_split(words, "test", words_folder).manifest.splits["test"].shards)
    list(open_split(words, "test", words_folder))
    assert len(hashed) == count + 1  # the index too
    list(open_split(words, "test", words_folder))
    integrity._verified.clear()  # as in a new process
    shards._local.__dict__.clear()
    list(open_split(words, "test", words_folder))
    assert len(hashed) == count + 1


def test_a_cache_folder_that_cannot_be_written_only_costs_hashing(words, words_folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAMOFCBENCH_CACHE", str(tmp_path / "file"))
    assert len(list(open_split(words, "test", words_folder))) == 20


def test_a_dataset_built_again_in_its_place_is_read_anew(words, words_builder, tmp_path, monkeypatch):
    words_builder.build(words, tmp_path, progress=False)
    before = open_split(words, "test", tmp_path).features(0)["hidden.1"].clone()
    monkeypatch.setattr(type(words_builder), "revision", lambda self: "another")
    samples_of = type(words_builder).samples
    monkeypatch.setattr(type(words_builder), "samples", lambda self, split: samples_of(self, split)[::-1])
    words_builder.build(words, tmp_path, progress=False)
    samples = open_split(words, "test", tmp_path)
    assert samples.data_revision == "another" and samples.reference(0) == "abab19"
    assert samples.features(0)["hidden.1"].shape != before.shape


def test_only_a_few_row_groups_and_shards_are_held(words, words_folder, monkeypatch):
    monkeypatch.setattr("lamofcbench.storage.index.KEPT_ROW_GROUPS", 2)
    monkeypatch.setattr(shards, "MAX_OPEN_SHARDS", 3)
    samples = open_split(words, "test", words_folder)
    for _ in samples:
        assert len(samples._index._groups) <= 2
        assert len(shards._local.shards) <= 3
    assert len(samples.manifest.splits["test"].shards) > 3


def test_a_reader_serves_threads(words, words_folder):
    samples = open_split(words, "test", words_folder)
    alone = [fingerprint(features) for features in samples]
    results = {}

    def read(name):
        results[name] = [fingerprint(samples.features(i)) for i in range(len(samples))]

    threads = [threading.Thread(target=read, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(4), alone)


def _read_in_child(samples, queue):
    queue.put((os.getpid(), [fingerprint(samples.features(i)) for i in range(len(samples))]))


def test_a_reader_in_use_goes_on_in_a_forked_process(words, words_folder):
    samples = open_split(words, "test", words_folder)
    alone = [fingerprint(features) for features in samples]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(samples, queue))
    child.start()
    process, read = queue.get(timeout=60)
    child.join(timeout=60)
    assert process != os.getpid() and read == alone


def test_a_reader_can_be_pickled(words, words_folder):
    samples = open_split(words, "test", words_folder)
    copy = pickle.loads(pickle.dumps(samples))
    assert [fingerprint(f) for f in copy] == [fingerprint(f) for f in samples]
    assert copy.scenario == words and copy.data_revision == samples.data_revision


def test_a_row_without_the_scenarios_tensors_is_no_feature_set(words):
    with pytest.raises(ScenarioError, match=r"the row has no column 'hidden\.1'; it holds reference"):
        feature_set({"reference": "x"}, words.specs)


def test_a_folder_in_place_of_the_dataset_folder_is_explained(words, words_folder, tmp_path):
    with pytest.raises(DataError, match="is one scenario's folder; pass the dataset folder above it"):
        open_split(words, "test", words_folder / "user-words")
    with pytest.raises(DataError, match=r"holds no dataset of 'user-words'.*it holds none at all"):
        open_split(words, "test", tmp_path)
    with pytest.raises(DataError, match="there is no dataset folder"):
        open_split(words, "test", tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file; pass the dataset folder"):
        open_split(words, "test", tmp_path / "file")
