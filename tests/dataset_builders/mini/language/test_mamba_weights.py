"""The stored Falcon-Mambas do what their records say, in the library's own loading, scan and generation."""

import json

import pytest
import torch
from safetensors.torch import load_file

from dataset_builders.mini._files import WEIGHTS
from dataset_builders.mini.language import _arithmetic_training as arithmetic
from dataset_builders.mini.language import _choices_training as choices
from dataset_builders.mini.language._train_arithmetic_mamba import MODEL_NAME as ARITHMETIC
from dataset_builders.mini.language._train_choices_mamba import MODEL_NAME as CHOICES
from dataset_builders.mini.language.arithmetic_problems import problems
from dataset_builders.mini.language.choices import TASKS, option_count, questions
from lamofcbench.features import FeatureSet
from lamofcbench.models.mamba import MambaSplitModel

SUBSET = 64
BOTH = [ARITHMETIC, CHOICES]
MOST_BELOW_QWEN3 = 0.1


def record(name):
    return json.loads((WEIGHTS / name / "training.json").read_text())


@pytest.fixture(scope="module")
def load():
    from transformers import AutoTokenizer, FalconMambaForCausalLM

    def load(name):
        model = FalconMambaForCausalLM.from_pretrained(WEIGHTS / name, dtype=torch.float32).eval()
        return model, AutoTokenizer.from_pretrained(WEIGHTS / name)

    return load


@pytest.mark.parametrize("name", BOTH)
def test_the_library_loads_the_weights_as_they_are_stored(load, name):
    stored = load_file(WEIGHTS / name / "model.safetensors")
    loaded = load(name)[0].state_dict()
    assert all(torch.equal(loaded[key], tensor.float()) for key, tensor in stored.items())


def test_the_arithmetic_model_reaches_its_floor_on_test_problems(load):
    assert arithmetic.exact_match(*load(ARITHMETIC), problems("test", SUBSET)) >= 0.85
    scores = record(ARITHMETIC)
    assert scores["held_out_accuracy"] >= 0.85
    assert scores["held_out_accuracy"] >= record("arithmetic-qwen3")["held_out_accuracy"] - MOST_BELOW_QWEN3


def test_the_choices_model_reaches_its_floor_on_every_task(load):
    model, tokenizer = load(CHOICES)
    for task in TASKS:
        assert choices.exact_match(model, tokenizer, questions(task, "test", SUBSET)) >= 0.75, task  # of few questions
        score = record(CHOICES)["held_out_accuracy"][task]
        assert score >= 0.8, task
        assert score >= record("choices-qwen3")["held_out_accuracy"][task] - MOST_BELOW_QWEN3, task
        assert score > 1 / option_count(task) + 0.2, task


PROMPTS = {
    ARITHMETIC: lambda: [problem.prompt for problem in problems("test", SUBSET)],
    CHOICES: lambda: [question.prompt for task in TASKS for question in questions(task, "test", SUBSET // 4)],
}


@pytest.mark.parametrize("name", BOTH)
def test_every_kind_of_state_decides_answers(load, name):
    """With the channels of one kind of state in another order, in all front layers, most answers are others."""
    model, tokenizer = load(name)
    split_model = MambaSplitModel(model, tokenizer, 4)
    features = [split_model.front(prompt) for prompt in PROMPTS[name]()]
    expected = split_model.tail(features)
    for kind in split_model.memory_names:
        order = torch.randperm(model.config.intermediate_size, generator=torch.Generator().manual_seed(0))
        mixed = [
            FeatureSet({key: value[order] if key.startswith(kind) else value for key, value in one.tensors.items()})
            for one in features
        ]
        same = sum(ours == theirs for ours, theirs in zip(split_model.tail(mixed), expected, strict=True))
        assert same < 0.6 * len(expected), kind
