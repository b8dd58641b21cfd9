"""What is asked for by name and not there yet is built once, whoever asks."""

import multiprocessing
import os

import pytest

import lamofcbench
from lamofcbench.builders import BUILDERS
from lamofcbench.errors import DataError
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage import open_split
from lamofcbench.storage.cache import cache_folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMOFCBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def builds(words, monkeypatch):
    """Counts how often the builder really runs."""
    builder_class = BUILDERS.get(words.builder, relative_to=words.origin)
    calls, build = [], builder_class.build
    monkeypatch.setattr(
        builder_class, "build", lambda self, *a, **k: calls.append(1) or build(self, *a, progress=False)
    )
    return calls


def test_built_on_first_use_and_read_afterwards(words_name, words, words_builder, cache, builds):
    assert len(open_split(words_name)) == 20
    assert len(open_split(words_name, "calibration")) == 6
    assert len(lamofcbench.load_dataset(words_name, "test[:8]")) == 8
    assert len(builds) == 1
    (folder,) = (cache / "data").iterdir()
    assert folder.name.startswith(f"user-words@1-{words_builder.revision()[:16]}")
    assert open_split(words_name).data_revision == words_builder.revision()


def test_a_new_data_revision_is_built_anew(words_name, words_builder, cache, builds, monkeypatch):
    open_split(words_name)
    monkeypatch.setattr(type(words_builder), "revision", lambda self: "f" * 64)
    assert open_split(words_name).data_revision == "f" * 64
    assert len(builds) == 2 and len(list((cache / "data").iterdir())) == 2


def test_a_changed_scenario_file_is_built_anew(words, words_name, cache, tmp_path):
    copy = tmp_path / "mine.py"
    source = words.origin.read_text()
    copy.write_text(source)
    assert open_split(f"{copy}:WORDS").features(0)["pooled"][0] != 0
    copy.write_text(source.replace("/ 100", "* 0"))
    assert open_split(f"{copy}:WORDS").features(0)["pooled"][0] == 0


def test_a_build_that_failed_is_tried_again(words_name, words_builder, cache, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(type(words_builder), "content_hash", lambda self, sample: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            open_split(words_name)
    assert len(open_split(words_name)) == 20


def _ask(words_name, cache, start, queue):
    words = SCENARIOS.get(words_name)
    builder_class = BUILDERS.get(words.builder, relative_to=words.origin)
    build = builder_class.build

    def recorded(self, *arguments, **options):
        (cache / f"built-by-{os.getpid()}").touch()
        return build(self, *arguments, progress=False)

    builder_class.build = recorded
    start.wait(timeout=60)
    queue.put([features["hidden.1"].sum().item() for features in open_split(words_name)])


def test_processes_that_ask_at_once_share_one_build(words_name, cache):
    context = multiprocessing.get_context("fork")
    start, queue = context.Barrier(4), context.Queue()
    children = [context.Process(target=_ask, args=(words_name, cache, start, queue)) for _ in range(4)]
    for child in children:
        child.start()
    read = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join(timeout=60)
    assert [child.exitcode for child in children] == [0, 0, 0, 0]
    assert len(read[0]) == 20 and all(values == read[0] for values in read)
    assert len(list(cache.glob("built-by-*"))) == 1


def test_the_cache_is_where_the_variable_says_or_in_the_home_folder(cache, monkeypatch):
    assert cache_folder() == cache
    monkeypatch.delenv("LAMOFCBENCH_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "lamofcbench")


def test_a_cache_that_cannot_be_written_says_what_to_set(words_name, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAMOFCBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set LAMOFCBENCH_CACHE to your own folder"):
        open_split(words_name)


def test_every_mini_scenario_brings_its_builder():
    for scenario in SCENARIOS:
        if scenario.edition == "mini":
            assert scenario.builder is not None
