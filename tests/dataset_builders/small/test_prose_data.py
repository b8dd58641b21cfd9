"""The passages of `small-clu-prose`: real text by hash, whole talks and chapters on one side, nothing in common."""

import tarfile

import pytest

from dataset_builders.small import _books
from dataset_builders.small._books import ARCHIVE, LEAST_LETTERS, SHA256, sections
from dataset_builders.small.prose import (
    COUNTS,
    PROMPT_TOKENS,
    SCORED_TOKENS,
    ProseBuilder,
    passages,
    sections_of,
    windows,
)
from lamofcbench.errors import DataError
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.cache import sources_folder
from lamofcbench.storage.layout import SPLITS

SCENARIO = SCENARIOS.get("small-clu-prose")


@pytest.fixture(scope="module")
def books():
    if not (sources_folder() / ARCHIVE).is_file():
        pytest.skip(f"no {ARCHIVE}; fetch it with: {_books.download_command()}")
    return sections()


@pytest.fixture
def sources(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMOFCBENCH_SOURCES", str(tmp_path))
    sections.cache_clear()
    yield tmp_path
    sections.cache_clear()


def test_without_the_archive_one_line_says_how_to_get_it(sources):
    command = f"pip download --no-deps --no-binary brotli --dest {sources} brotli==1.2.1"
    with pytest.raises(DataError, match="which is not there; fetch it with: ") as caught:
        sections()
    assert str(caught.value).endswith(command) and "\n" not in str(caught.value)


def test_another_text_in_the_archive_is_refused(sources, tmp_path):
    other = tmp_path / "lcet10.txt"
    other.write_text("It was a dark and stormy night.")
    with tarfile.open(sources / ARCHIVE, "w:gz") as archive:
        archive.add(other, "brotli-1.2.1/tests/testdata/lcet10.txt")
    with pytest.raises(DataError, match="is another text than that of brotli"):
        sections()


def test_a_damaged_archive_is_one_clear_error(sources):
    (sources / ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot read"):
        sections()


def test_both_books_are_cut_into_talks_and_chapters_of_whole_paragraphs(books):
    by_book = {name: [section for section in books if section.book == name] for name in SHA256}
    assert {name: len(found) for name, found in by_book.items()} == {"lcet10": 48, "alice29": 12}
    for section in books:
        for paragraph in section.paragraphs:
            assert len(paragraph) >= LEAST_LETTERS and "\n" not in paragraph and "  " not in paragraph
    assert by_book["alice29"][0].paragraphs[0].startswith("Alice was beginning to get very tired")
    assert not any("++++" in paragraph for section in books for paragraph in section.paragraphs)


def test_the_splits_share_no_section(books):
    split = {name: {(one.book, one.number) for one in sections_of(name)} for name in SPLITS}
    assert not split["test"] & split["calibration"] and len(split["test"] | split["calibration"]) == len(books)


def test_passages_are_disjoint_and_of_the_stated_lengths(books, small_model):
    found = {split: passages(split) for split in SPLITS}
    assert {split: len(some) for split, some in found.items()} == COUNTS
    assert {"test": SCENARIO.test_samples, "calibration": SCENARIO.calibration_samples} == COUNTS
    lengths = [len(passage.tokens) - SCORED_TOKENS for some in found.values() for passage in some]
    assert PROMPT_TOKENS[0] <= min(lengths) < 80 and 240 < max(lengths) <= PROMPT_TOKENS[1]
    test, calibration = ({window for passage in found[split] for window in windows(passage)} for split in SPLITS)
    assert not test & calibration
    everything = [window for passage in found["test"] for window in set(windows(passage))]
    assert len(everything) - len(set(everything)) < 0.01 * len(everything), "passages of a split overlap"
    assert len({passage.digest for some in found.values() for passage in some}) == sum(COUNTS.values())
    assert len({passage.section.split("-")[0] for passage in found["test"][:16]}) == 2
    [axis] = SCENARIO.specs.axes
    assert max(lengths) <= axis.limit <= 4 * max(lengths)


def test_the_passages_are_what_the_models_own_tokenizer_makes_of_them(books, small_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small_model)
    for sample in ProseBuilder().samples("test")[:8]:
        tokens = sample.inputs.tolist()
        assert tokenizer.decode(tokens[-SCORED_TOKENS:]) == sample.reference
        assert tokenizer.decode(tokens).endswith(sample.reference)
    assert tokenizer.vocab_size == SCENARIO.metric_options["vocabulary"]
