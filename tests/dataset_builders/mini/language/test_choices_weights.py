"""The stored Qwen3 answers the multiple-choice tasks as its record says, with no adapter of ours."""

import json

import pytest
import torch

from dataset_builders.mini._files import WEIGHTS
from dataset_builders.mini.language._choices_training import exact_match
from dataset_builders.mini.language._train_choices_qwen3 import MODEL_NAME
from dataset_builders.mini.language.choices import TASKS, option_count, questions

SUBSET = 64
FLOOR = 0.8


@pytest.fixture(scope="module")
def record():
    return json.loads((WEIGHTS / MODEL_NAME / "training.json").read_text())


def test_the_record_holds_scores_above_the_floor_and_baselines_near_chance(record):
    assert record["chance"] == {task: 1 / option_count(task) for task in TASKS}
    for task, chance in record["chance"].items():
        assert record["held_out_accuracy"][task] >= FLOOR
        assert record["options_only_accuracy"][task] <= chance + 0.1
        assert record["question_only_accuracy"][task] <= chance + 0.1


@pytest.mark.parametrize("task", TASKS)
def test_the_stored_decoder_reaches_its_floor_on_test_questions(record, task):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(WEIGHTS / MODEL_NAME, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / MODEL_NAME)
    score = exact_match(model, tokenizer, questions(task, "test", SUBSET))
    assert score >= FLOOR
    assert score == pytest.approx(record["held_out_accuracy"][task], abs=0.1)
