"""What is said in the audio scenarios: splits that share nothing, rules that no single word gives away, real audio."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter

import numpy as np
import pytest

from dataset_builders.mini.speech import sets
from dataset_builders.mini.speech._scores import BUILDERS
from dataset_builders.mini.speech._synthesis import ACCENTS, HELD_OUT_VARIANTS, LONGEST, VARIANTS
from dataset_builders.mini.speech.grammar import (
    CATEGORIES,
    DANGEROUS,
    DESTROYING,
    GRAMMARS,
    HARMFUL,
    LETTERS,
    MAKING,
    VALUABLE,
    WORLD,
    Utterance,
    deal,
    is_harmful,
    utterances,
)
from dataset_builders.mini.speech.sets import SETS, SIZES, planned, recordings
from dataset_builders.mini.speech.tokenizer import INSTRUCTIONS, SPECIAL, UNKNOWN, make_tokenizer
from lamofcbench.errors import DataError
from lamofcbench.models.kimi_audio import SAMPLE_RATE, decode_audio

BUDGET = 8 * 2**20
TRAINING_DRAWS = 3000


def training_draws(task: str) -> list[Utterance]:
    drawn = utterances(task, "training", random.Random("test"))
    return [next(drawn) for _ in range(TRAINING_DRAWS)]


# -------------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize("builder_class", BUILDERS, ids=lambda one: one.name)
def test_a_set_has_the_declared_samples_and_its_splits_share_no_words_and_no_audio(builder_class):
    builder = builder_class()
    content = {split: {builder.content_hash(sample) for sample in builder.samples(split)} for split in SIZES}
    words = {split: {one.key for one in planned(builder.set_name, split)} for split in SIZES}
    for kind in (content, words):
        assert {split: len(members) for split, members in kind.items()} == {"test": 200, "calibration": 64}
        assert not kind["test"] & kind["calibration"]
    assert all(deal(key) == split for split, keys in words.items() for key in keys)


@pytest.mark.parametrize("task", GRAMMARS)
def test_no_sentence_of_training_is_in_any_set(task):
    trained = {one.key for one in training_draws(task)}
    shipped = {one.key for name in SETS for split in SIZES for one in planned(name, split)}
    assert trained and not trained & shipped


def test_the_two_sets_of_commands_share_no_sentence():
    clean, noisy = ({one.key for one in planned(f"commands-{kind}", "test")} for kind in ("clean", "noisy"))
    assert not clean & noisy


def test_the_noisy_set_has_voices_and_rooms_that_training_never_has():
    def variants(name):
        return {one.made["voice"]["name"].partition("+")[2] for split in SIZES for one in recordings(name, split)}

    assert variants("commands-noisy") == set(HELD_OUT_VARIANTS)
    assert not set(HELD_OUT_VARIANTS) & set(VARIANTS)
    assert all(one.made["room"] is not None for one in recordings("commands-noisy", "test"))
    for name in set(SETS) - {"commands-noisy"}:
        assert variants(name) <= set(VARIANTS) and len(variants(name)) > 4
        voices = {one.made["voice"]["name"].partition("+")[0] for one in recordings(name, "test")}
        assert voices <= set(ACCENTS)


def test_sentences_are_the_same_on_every_machine():
    told = json.dumps([[one.text, one.reference] for name in sorted(SETS) for one in planned(name, "test")])
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "d6ccc3b27bc236fa"


# ------------------------------------------------------------------------------- what can be had without listening


def test_every_word_of_a_request_is_in_as_many_harmful_as_harmless_ones():
    for words, others, swap in (
        (DESTROYING + MAKING, VALUABLE + DANGEROUS, False),
        (VALUABLE + DANGEROUS, DESTROYING + MAKING, True),
    ):
        for word in words:
            harmful = [is_harmful(*((other, word) if swap else (word, other))) for other in others]
            assert sum(harmful) == len(harmful) / 2


def test_no_single_word_tells_a_harmful_request():
    seen: dict[str, Counter[str]] = {}
    for one in training_draws("request"):
        for word in one.key.split():
            seen.setdefault(word, Counter())[one.reference] += 1
    test = planned("requests", "test")
    assert Counter(one.reference for one in test) == {"harmful": 100, "harmless": 100}

    def strongest(one: Utterance) -> str:
        shares = {word: seen[word][HARMFUL] / seen[word].total() for word in one.key.split()}
        share = max(shares.values(), key=lambda value: abs(value - 0.5))
        return HARMFUL if share > 0.5 else "harmless"

    assert 0.4 <= sum(strongest(one) == one.reference for one in test) / len(test) <= 0.6


def test_options_without_the_category_leave_a_choice_at_chance():
    right, offered = Counter[str](), Counter[str]()
    for one in training_draws("choose"):
        options = one.key.split()[3:]
        offered.update(options)
        right[options[LETTERS.index(one.reference)]] += 1
    test = planned("choices", "test")
    assert set(Counter(one.reference for one in test).values()) == {50}
    guessed = 0
    for one in test:
        options = one.key.split()[3:]
        best = max(options, key=lambda word: right[word] / offered[word])
        guessed += LETTERS[options.index(best)] == one.reference
    assert guessed / len(test) <= 0.4


def test_a_choice_has_one_right_option_of_four():
    for one in planned("choices", "test"):
        category, options = one.key.split()[2], one.key.split()[3:]
        assert len(set(options)) == 4
        assert [letter for letter, option in zip(LETTERS, options, strict=True) if option in CATEGORIES[category]] == [
            one.reference
        ]


def test_a_question_is_not_answered_by_its_kind_or_by_its_animal_alone():
    def kind(one: Utterance) -> str:
        return next(word for word in ("eat", "live", "owns") if word in one.key.split())

    def animal(one: Utterance) -> str:
        return next(word for word in one.key.split() if word in WORLD)

    test = planned("questions", "test")
    for known in (lambda one: "", kind, animal):
        by_known: dict[str, Counter[str]] = {}
        for one in test:
            by_known.setdefault(known(one), Counter())[one.reference] += 1
        best = sum(counts.most_common(1)[0][1] for counts in by_known.values()) / len(test)
        assert best <= 0.5  # by the best guess that the test split itself could teach


# --------------------------------------------------------------------------------------------------------- the audio


def test_the_shipped_audio_fits_its_budget():
    assert sum(path.stat().st_size for path in sets.DATA.iterdir()) < BUDGET
    assert {path.name for path in sets.DATA.iterdir()} == {path.name for name in SETS for path in sets.paths(name)}


@pytest.mark.parametrize("builder_class", BUILDERS, ids=lambda one: one.name)
def test_audio_is_short_loud_speech_whose_hash_is_the_recorded_one(builder_class):
    builder = builder_class()
    told = json.loads(sets.paths(builder.set_name)[1].read_text(encoding="utf-8"))["recordings"]
    for index, sample in enumerate(builder.samples("test")):
        assert builder.content_hash(sample) == told[index]["sha256"]
        if index % 10 == 0:
            wave = decode_audio(sample.inputs.audio)
            assert 0.5 <= len(wave) / SAMPLE_RATE <= LONGEST
            assert 0.2 <= np.abs(wave).max() <= 1.0
            assert sample.inputs.instruction == INSTRUCTIONS[SETS[builder.set_name].task]


def test_damaged_audio_is_one_clear_error(tmp_path, monkeypatch):
    audio, told = sets.paths("requests")
    folder = tmp_path / "speech"
    folder.mkdir()
    monkeypatch.setattr(sets, "paths", lambda name: (folder / audio.name, folder / told.name))
    for damaged_audio, damaged_told in (
        (audio.read_bytes()[:-1], told.read_bytes()),
        (audio.read_bytes()[:-9] + b"damaged!!", told.read_bytes()),
        (audio.read_bytes(), told.read_bytes()[:1000]),
        (audio.read_bytes(), told.read_bytes().replace(b"burn", b"turn")),
        (None, told.read_bytes()),
    ):
        for path in folder.iterdir():
            path.unlink()
        if damaged_audio is not None:
            (folder / audio.name).write_bytes(damaged_audio)
        (folder / told.name).write_bytes(damaged_told)
        with pytest.raises(DataError, match="requests"):
            recordings.__wrapped__("requests", "test")


# ----------------------------------------------------------------------------------------------------- the tokenizer


def test_the_tokenizer_knows_every_word_and_gives_it_back():
    tokenizer = make_tokenizer()
    for task in GRAMMARS:
        for text in (INSTRUCTIONS[task], *(one.answer for one in training_draws(task)[:300])):
            ids = tokenizer(text).input_ids
            assert tokenizer.convert_tokens_to_ids(UNKNOWN) not in ids
            assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.decode(tokenizer.convert_tokens_to_ids(list(SPECIAL)), skip_special_tokens=True) == ""
