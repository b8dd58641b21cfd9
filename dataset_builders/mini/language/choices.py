"""The four multiple-choice tasks: their questions for the splits, and what one draw of training is made of.

    facts     ARC-Challenge   four options   what a thing has follows from what it is
    scripts   HellaSwag       four options   the next step of an activity
    claims    TruthfulQA      four options   what is true, where most of what is said is not
    pronouns  WinoGrande      two options    what a pronoun means

In place of a letter alone, a model writes a short reasoning, then the right option in words, then its letter in
brackets. The letter is then not known from the prompt's hidden state at the split alone: it depends on new tokens that
run through all layers and look back at the prompt.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from dataset_builders.mini.language import claims, facts, pronouns, scripts
from dataset_builders.mini.language.choices_question import LETTERS, Question, Split, compose, words_of

__all__ = ["Question", "Split"]

_MODULES: dict[str, ModuleType] = {module.NAME: module for module in (facts, scripts, claims, pronouns)}
TASKS = tuple(_MODULES)
TEST_SAMPLES = 256
CALIBRATION_SAMPLES = 128
# The share of a task's training draws that are exercises on what its questions take for known.
EXERCISES = {"facts": 0.3, "scripts": 0.5}
FIND_EXERCISE = "Find {option}."


def option_count(task: str) -> int:
    """Returns how many options a question of the task has; chance is one in as many."""
    return int(_MODULES[task].OPTIONS)


def draw_question(source: random.Random, task: str, split: Split, position: int | None = None) -> Question:
    """Returns a question of a task.

    Args:
        source: of the draws; the same sequence on every machine.
        task: one of `TASKS`.
        split: whose facts the question may ask for.
        position: the place of the right option, from 0; None for a random one.
    """
    if position is None:
        position = source.randrange(option_count(task))
    question: Question = _MODULES[task].draw(source, split, position)
    return question


def draw_exercise(source: random.Random, task: str) -> Question:
    """Returns a training exercise: what a task's questions take for known, or finding a named option's letter."""
    if source.random() < EXERCISES.get(task, 0):
        exercise: Question = _MODULES[task].draw_exercise(source)
        return exercise
    chosen = source.sample(_MODULES[task].options(), option_count(task))
    story = FIND_EXERCISE.format(option=chosen[0])
    return compose(story, "it is", chosen[0], chosen[1:], source.randrange(len(chosen)))


@cache
def questions(task: str, split: Split, count: int) -> tuple[Question, ...]:
    """Returns the first `count` questions of a split, all different; each letter is right equally often.

    Args:
        task: one of `TASKS`.
        split: whose facts the questions ask for; of training, these are fresh draws for a check.
        count: how many.
    """
    source = random.Random(f"mini-clu-{task}/{split}")
    found: dict[str, Question] = {}
    while len(found) < count:
        question = draw_question(source, task, split, len(found) % option_count(task))
        found.setdefault(question.prompt, question)
    return tuple(found.values())


def fresh_questions(task: str, seed: int) -> Iterator[Question]:
    """Returns the endless sequence of questions on facts of the test split that a seed draws."""
    source = random.Random(f"mini-clu-{task}/fresh {seed}")
    for number in itertools.count():
        yield draw_question(source, task, "test", number % option_count(task))


def vocabulary() -> list[str]:
    """Returns every word and mark that a prompt or a text can hold, sorted."""
    own = words_of(FIND_EXERCISE, "it is Answer:") | {f"({letter})" for letter in LETTERS}
    return sorted(own.union(*(module.vocabulary() for module in _MODULES.values())))
