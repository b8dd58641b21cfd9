"""The training of the decoders that write a word problem's working and result, whatever their architecture."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dataset_builders.mini import _training as training
from dataset_builders.mini.language._language_training import Loss, answer_loss, generate, train_decoder
from dataset_builders.mini.language.arithmetic_problems import (
    CALIBRATION_SAMPLES,
    TEST_SAMPLES,
    Problem,
    Split,
    draw_problem,
    drills,
    problems,
    templates,
)
from dataset_builders.mini.language.arithmetic_tokenizer import make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

MAX_NEW_TOKENS = 20  # working 15, mark 1, result at most 3, <eos> 1
BATCH_SIZE = 64
STEPS_PER_DRAW = 4


def training_batch(seed: int, step: int, steps: int, size: int = BATCH_SIZE) -> list[Problem]:
    """Returns a step's problems: `size` of them, or twice as many drills, which have half of a story's tokens.

    Drills lead at first, because the working is learnt from them at less cost; their share falls from 0.8 to 0.1 over
    the first 40 % of the run. Four steps share one draw of stories, dealt by length, so that little is padded.
    """
    share = max(0.1, 0.8 - 0.7 * step / (0.4 * steps))
    source = training.random_source(seed, step)
    if source.random() < share:
        return [draw_problem(source, "training", drills()) for _ in range(2 * size)]
    group, index = divmod(step, STEPS_PER_DRAW)
    source = training.random_source(seed, -1 - group)
    drawn = [draw_problem(source, "training", templates("training")) for _ in range(STEPS_PER_DRAW * size)]
    drawn.sort(key=lambda problem: len(problem.prompt.split()))
    # A draw is dealt in an order of its own, lest the lengths follow the step number.
    chunk = source.sample(range(STEPS_PER_DRAW), STEPS_PER_DRAW)[index]
    return drawn[chunk * size : (chunk + 1) * size]


def last_number(text: str) -> str:
    """Returns the last run of digits in a text, or an empty string.

    >>> last_number("+7815,4308,0000 #### 85")
    '85'
    """
    numbers = re.findall(r"\d+", text)
    return numbers[-1] if numbers else ""


def exact_match(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, chosen: Sequence[Problem]) -> float:
    """Returns the share of problems for which the last number that the model writes is the reference."""
    texts = generate(model, tokenizer, [problem.prompt for problem in chosen])
    right = sum(last_number(text) == problem.reference for text, problem in zip(texts, chosen, strict=True))
    return right / len(chosen)


def constant_score(chosen: Sequence[Problem]) -> float:
    """Returns the exact match of the best constant answer: the share of the commonest reference."""
    return Counter(problem.reference for problem in chosen).most_common(1)[0][1] / len(chosen)


def train_arithmetic(
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
        batch_size: problems a step.
        learning_rate: peak rate.
        loss: takes model, ids and labels, int64 [B, T], and returns the loss, a scalar.
    """
    plan = training.TrainingPlan(
        name, arguments.seed, arguments.steps, learning_rate, average_decay=0.99, threads=arguments.threads
    )

    def batches(step: int) -> list[list[tuple[str, str]]]:
        return [
            [(problem.prompt, problem.answer) for problem in training_batch(plan.seed, step, plan.steps, batch_size)]
        ]

    def score(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, split: Split) -> float:
        count = CALIBRATION_SAMPLES if split == "calibration" else TEST_SAMPLES
        return exact_match(model, tokenizer, problems(split, count))

    train_decoder(
        arguments,
        plan,
        make_tokenizer(),
        make_model,
        batches=batches,
        score=score,
        loss=loss,
        checkpoint_every=150,
        results={"constant_answer_accuracy": constant_score(problems("test", TEST_SAMPLES))},
    )
