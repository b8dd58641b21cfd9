"""The stored weights do what their records say, with the libraries' own loading and no adapter of ours."""

import json

import pytest
import torch

from dataset_builders.mini._files import WEIGHTS
from dataset_builders.mini.digits import _train_digits_vit as digits
from dataset_builders.mini.digits.plan import digits_plan
from dataset_builders.mini.language import _arithmetic_training as arithmetic
from dataset_builders.mini.language.arithmetic_problems import TEST_SAMPLES, problems

ARITHMETIC = "arithmetic-qwen3"


def record(name):
    return json.loads((WEIGHTS / name / "training.json").read_text())


def test_classifier_reaches_its_floor_on_held_out_digits():
    score = digits.accuracy(digits.load(WEIGHTS / digits.MODEL_NAME), digits_plan().held_out)
    assert score >= 0.97
    assert score == pytest.approx(record(digits.MODEL_NAME)["held_out_accuracy"], abs=0.003)


def test_decoder_reaches_its_floor_on_the_test_split():
    from transformers import AutoTokenizer, Qwen3ForCausalLM

    folder = WEIGHTS / ARITHMETIC
    model = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    score = arithmetic.exact_match(model, tokenizer, problems("test", TEST_SAMPLES))
    assert score >= 0.85
    assert score == pytest.approx(record(ARITHMETIC)["held_out_accuracy"], abs=0.01)
    assert record(ARITHMETIC)["constant_answer_accuracy"] < 0.05


@pytest.mark.parametrize("name", [digits.MODEL_NAME, ARITHMETIC])
def test_records_name_what_a_second_run_needs(name):
    fields = {"seed", "steps", "minutes", "threads", "final_loss", "train_accuracy", "calibration_accuracy", "versions"}
    assert fields <= set(record(name))
