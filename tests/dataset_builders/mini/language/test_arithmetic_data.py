import random
import re

import pytest

from dataset_builders.mini.language._arithmetic_training import training_batch
from dataset_builders.mini.language.arithmetic_problems import (
    CALIBRATION_SAMPLES,
    TEST_SAMPLES,
    draw_problem,
    drills,
    pair_split,
    problems,
    templates,
)
from dataset_builders.mini.language.arithmetic_tokenizer import make_tokenizer

SPLITS = {"test": TEST_SAMPLES, "calibration": CALIBRATION_SAMPLES}


@pytest.fixture(scope="module")
def trained_on():
    """Problems of the steps of a training run, stories and drills, from its start, middle and end."""
    return [
        problem
        for step in (*range(12), *range(700, 712), *range(1488, 1500))
        for problem in training_batch(1, step, 1500)
    ]


def test_templates_of_the_splits_are_disjoint():
    parts = [{template.text for template in templates(split)} for split in ("training", *SPLITS)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert min(map(len, parts)) > 40
    assert not {template.text for template in drills()} & set.union(*parts)


def test_no_template_and_no_pair_of_training_occurs_in_another_split(trained_on):
    trained_templates = {problem.template for problem in trained_on}
    trained_pairs = {problem.pair for problem in trained_on}
    found = {split: problems(split, count) for split, count in SPLITS.items()}
    for split, drawn in found.items():
        assert not trained_templates & {problem.template for problem in drawn}
        assert not trained_pairs & {problem.pair for problem in drawn}
        assert all(pair_split(*problem.pair) == split for problem in drawn)
    assert not {p.pair for p in found["test"]} & {p.pair for p in found["calibration"]}
    assert not {p.template for p in found["test"]} & {p.template for p in found["calibration"]}


def test_training_draws_only_training_pairs_and_templates(trained_on):
    allowed = {template.text for template in (*templates("training"), *drills())}
    assert all(pair_split(*problem.pair) == "training" and problem.template in allowed for problem in trained_on)


@pytest.mark.parametrize("split", SPLITS)
def test_prompts_name_the_operands_and_the_answer_is_right(split):
    for problem in problems(split, SPLITS[split]):
        first, second = map(int, re.findall(r"\d+", problem.prompt))
        assert min(first, second) >= 10
        result = first + second if problem.answer.startswith("+") else first - second
        assert problem.reference == str(result) == re.findall(r"\d+", problem.answer)[-1]


def test_working_sums_up_to_the_answer():
    source = random.Random(0)
    for _ in range(200):
        problem = draw_problem(source, "training", drills())
        columns = re.findall(r"\d{4}", problem.answer.split(" #### ")[0])
        assert str(int("".join(column[3] for column in reversed(columns)))) == problem.reference


def test_tokenizer_knows_every_word_and_decodes_what_it_encodes():
    tokenizer = make_tokenizer()
    for split, count in SPLITS.items():
        for problem in problems(split, count):
            for text in (problem.prompt, problem.answer):
                ids = tokenizer(text).input_ids
                assert ids[0] == tokenizer.bos_token_id
                assert tokenizer.unk_token_id not in ids
                assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_every_token_of_the_other_splits_is_trained_on(trained_on):
    tokenizer = make_tokenizer()
    trained = {token for problem in trained_on for token in tokenizer(problem.prompt).input_ids}
    for split, count in SPLITS.items():
        for problem in problems(split, count):
            assert set(tokenizer(problem.prompt).input_ids) <= trained


def test_prompts_have_ragged_lengths():
    tokenizer = make_tokenizer()
    lengths = {len(tokenizer(problem.prompt).input_ids) for problem in problems("test", TEST_SAMPLES)}
    assert min(lengths) >= 20 and max(lengths) <= 50 and len(lengths) > 10
