"""The training of the decoders that answer the multiple-choice tasks, whatever their architecture."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dataset_builders.mini import _training as training
from dataset_builders.mini.language import _choices_baselines as baselines
from dataset_builders.mini.language._language_training import Loss, answer_loss, generate, train_decoder
from dataset_builders.mini.language.choices import (
    CALIBRATION_SAMPLES,
    TASKS,
    TEST_SAMPLES,
    draw_exercise,
    draw_question,
    option_count,
    questions,
)
from dataset_builders.mini.language.choices_question import Question, Split
from dataset_builders.mini.language.choices_tokenizer import make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

MAX_NEW_TOKENS = 12  # of a text, at most 9, and <eos>
BATCH_SIZE = 16  # of each task


def training_batches(seed: int, step: int, steps: int, size: int = BATCH_SIZE) -> list[list[Question]]:
    """Returns a step's questions and exercises, a list a task, as tasks differ in length.

    Exercises lead at first, because finding a letter is learnt from them at less cost; their share falls from 1 at 15 %
    of the run to 0.2 at 40 %.
    """
    share = min(1.0, max(0.2, 1 - 0.8 * (step / steps - 0.15) / 0.25))
    source = training.random_source(seed, step)

    def draw(task: str) -> Question:
        return draw_exercise(source, task) if source.random() < share else draw_question(source, task, "training")

    return [[draw(task) for _ in range(size)] for task in TASKS]


def last_letter(text: str) -> str:
    """Returns the last letter in brackets, or an empty string.

    >>> last_letter("the bird is the robin (C)")
    'C'
    """
    letters = re.findall(r"\(([A-Z])\)", text)
    return letters[-1] if letters else ""


def exact_match(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, chosen: Sequence[Question]) -> float:
    """Returns the share of questions for which the last letter that the model writes is the right one."""
    texts = generate(model, tokenizer, [question.prompt for question in chosen])
    right = sum(last_letter(text) == question.answer for text, question in zip(texts, chosen, strict=True))
    return right / len(chosen)


def train_choices(
    arguments: argparse.Namespace,
    name: str,
    make_model: Callable[[PreTrainedTokenizerFast], PreTrainedModel],
    *,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = 2e-3,
    loss: Loss = answer_loss,
) -> None:
    """Trains, scores and exports a decoder.

    Args:
        arguments: see `dataset_builders.mini.train`.
        name: the model's, and its folder's.
        make_model: returns the model with random weights and generation settings.
        batch_size: questions a step and task.
        learning_rate: peak rate.
        loss: takes model, ids and labels, int64 [B, T], and returns the loss, a scalar.
    """
    plan = training.TrainingPlan(
        name, arguments.seed, arguments.steps, learning_rate, average_decay=0.99, threads=arguments.threads
    )

    def batches(step: int) -> list[list[tuple[str, str]]]:
        drawn = training_batches(plan.seed, step, plan.steps, batch_size)
        return [[(question.prompt, question.text) for question in batch] for batch in drawn]

    def score(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, split: Split) -> dict[str, float]:
        count = CALIBRATION_SAMPLES if split == "calibration" else TEST_SAMPLES
        return {task: exact_match(model, tokenizer, questions(task, split, count)) for task in TASKS}

    train_decoder(
        arguments,
        plan,
        make_tokenizer(),
        make_model,
        batches=batches,
        score=score,
        loss=loss,
        results={
            "chance": {task: 1 / option_count(task) for task in TASKS},
            "options_only_accuracy": {task: baselines.options_only(task) for task in TASKS},
            "question_only_accuracy": {task: baselines.question_only(task) for task in TASKS},
        },
    )
