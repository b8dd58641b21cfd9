"""The multiple-choice tasks: right answers, splits that share no fact, no way to the answer by a part of a question."""

import random
import re
from collections import Counter

import pytest

from dataset_builders.mini.language import _choices_baselines as baselines
from dataset_builders.mini.language import claims, facts, pronouns, scripts
from dataset_builders.mini.language._choices_training import last_letter, training_batches
from dataset_builders.mini.language.choices import (
    CALIBRATION_SAMPLES,
    TASKS,
    TEST_SAMPLES,
    draw_exercise,
    draw_question,
    option_count,
    questions,
)
from dataset_builders.mini.language.choices_question import LETTERS
from dataset_builders.mini.language.choices_tokenizer import make_tokenizer
from harness.metrics.exact_match_letter import answer_letter

SPLITS = {"test": TEST_SAMPLES, "calibration": CALIBRATION_SAMPLES}


@pytest.fixture(scope="module")
def trained_on():
    """A task's questions of a training run, from its start, middle and end, and as many draws again."""
    steps = [step for start in (0, 900, 1900) for step in range(start, start + 20)]
    batches = [training_batches(1, step, 2000) for step in steps]
    source = random.Random(0)
    return {
        task: [q for batch in batches for q in batch[index]]
        + [draw_question(source, task, "training") for _ in range(1000)]
        for index, task in enumerate(TASKS)
    }


@pytest.mark.parametrize("task", TASKS)
def test_splits_share_no_fact_and_training_asks_for_none_of_theirs(task, trained_on):
    parts = {
        split: {fact for q in questions(task, split, count) for fact in q.facts} for split, count in SPLITS.items()
    }
    trained = {fact for q in trained_on[task] for fact in q.facts}
    assert min(len(trained), *map(len, parts.values())) >= 20
    assert not trained & (parts["test"] | parts["calibration"])
    assert not parts["test"] & parts["calibration"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", SPLITS)
def test_letters_are_balanced_and_questions_differ(task, split):
    found = questions(task, split, SPLITS[split])
    counts = Counter(question.answer for question in found)
    assert set(counts) == set(LETTERS[: option_count(task)])
    assert set(counts.values()) == {SPLITS[split] // option_count(task)}
    assert len({question.prompt for question in found}) == len(found)
    assert all(len(set(question.options)) == option_count(task) for question in found)


@pytest.mark.parametrize("task", TASKS)
def test_draws_repeat(task):
    questions.cache_clear()
    first = questions(task, "test", 8)
    questions.cache_clear()
    assert questions(task, "test", 8) == first == questions(task, "test", 16)[:8]


@pytest.mark.parametrize("task", TASKS)
def test_a_text_ends_with_the_right_option_and_its_letter_and_the_metric_reads_it(task):
    for question in questions(task, "test", TEST_SAMPLES):
        right = question.options[LETTERS.index(question.answer)]
        assert question.text.endswith(f" {right} ({question.answer})")
        assert answer_letter(question.text) == question.answer == last_letter(question.text)
        assert f" {right} ({question.answer})" in question.prompt
        assert question.prompt.endswith(" Answer:")


@pytest.mark.parametrize("task", TASKS)
def test_the_options_alone_and_the_question_alone_score_near_chance(task):
    chance = 1 / option_count(task)
    assert baselines.options_only(task, trained_on=1500) <= chance + 0.1
    assert baselines.question_only(task, trained_on=1500) <= chance + 0.1


def test_tokenizer_knows_every_word_and_decodes_what_it_encodes(trained_on):
    tokenizer = make_tokenizer()
    source = random.Random(1)
    for task in TASKS:
        exercises = [draw_exercise(source, task) for _ in range(300)]
        for question in (*questions(task, "test", TEST_SAMPLES), *trained_on[task], *exercises):
            for text in (question.prompt, question.text):
                ids = tokenizer(text).input_ids
                assert ids[0] == tokenizer.bos_token_id
                assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(tokenizer(question.text).input_ids, skip_special_tokens=True) == question.text
            assert len(tokenizer(question.text).input_ids) <= 12


@pytest.mark.parametrize("task", TASKS)
def test_prompts_are_short_and_ragged(task):
    tokenizer = make_tokenizer()
    lengths = {len(tokenizer(question.prompt).input_ids) for question in questions(task, "test", TEST_SAMPLES)}
    assert max(lengths) <= 60 and len(lengths) >= 4


def test_a_fact_follows_from_the_kind_and_no_other_option_is_of_that_kind():
    kind_of = {thing: kind for kind in facts.KINDS for thing in kind.things}
    assert len(kind_of) == sum(len(kind.things) for kind in facts.KINDS)
    owners = Counter(attribute for kind in facts.KINDS for attribute in kind.attributes)
    assert set(owners.values()) == {1}
    for question in questions("facts", "test", TEST_SAMPLES):
        kinds = [kind_of[option] for option in question.options]
        fitting = [kind for kind in kinds if any(attribute in question.story for attribute in kind.attributes)]
        assert len(set(kinds)) == 4
        assert fitting == [kinds[LETTERS.index(question.answer)]]


def test_each_thing_has_as_many_facts_in_a_split_as_any_other():
    for row in range(8):
        for index in (lambda column, row=row: (row, column), lambda column, row=row: (column, row)):
            counts = Counter(facts.fact_split(*index(column)) for column in range(8))
            assert counts == {"training": 5, "test": 2, "calibration": 1}


def test_the_right_step_is_the_next_one():
    found = Counter(step for steps in scripts.SCRIPTS.values() for step in steps)
    assert set(found.values()) == {1}
    for question in questions("scripts", "test", TEST_SAMPLES):
        (steps,) = [steps for activity, steps in scripts.SCRIPTS.items() if activity in question.story]
        told = [word for word in re.findall(r"\w+", question.story) if word in steps]
        assert steps[steps.index(told[-1]) + 1] == question.options[LETTERS.index(question.answer)]
        assert sum(option in steps for option in question.options) == 2


def test_every_step_can_be_told_in_training():
    source = random.Random(0)
    told = {scripts.draw_exercise(source).text for _ in range(3000)}
    assert len(told) == sum(len(steps) - 1 for steps in scripts.SCRIPTS.values())


def test_the_true_claim_is_made_once_and_a_false_one_twice():
    for question in questions("claims", "test", TEST_SAMPLES):
        right = question.options[LETTERS.index(question.answer)]
        said = re.findall(r"[A-Z]\w+ ([a-z ]+) the (\w+)\.", question.story)
        (known,) = [place for phrase, place in said if phrase in claims.KNOWING]
        assert known == right
        assert all(phrase in claims.GUESSING for phrase, place in said if place != right)
        counts = Counter(place for _, place in said)
        assert counts[right] == 1 and max(counts.values()) == 2


def test_another_trigger_flips_the_answer():
    for question in questions("pronouns", "test", TEST_SAMPLES):
        (schema,) = [s for s in pronouns.SCHEMAS if s.verb in question.story and question.options[0] in s.nouns]
        x, y = re.search(rf"the (\w+) {schema.verb} the (\w+)", question.story, re.IGNORECASE).groups()
        trigger = re.search(r"Which one is (\w+)\?", question.story)[1]
        right = question.options[LETTERS.index(question.answer)]
        assert right == (x if trigger in schema.first else y)
        assert {x, y} == set(question.options)
    for schema in pronouns.SCHEMAS:
        assert not set(schema.first) & set(schema.second)


@pytest.mark.parametrize("split", ["training", "calibration", "test"])
def test_both_nouns_are_meant_equally_often_by_a_verbs_combinations(split):
    for index in range(len(pronouns.SCHEMAS)):
        combinations = [(t, w) for t in range(6) for w in range(6) if pronouns.wording_split(index, t, w) == split]
        assert sum(trigger < 3 for trigger, _ in combinations) * 2 == len(combinations) > 0
