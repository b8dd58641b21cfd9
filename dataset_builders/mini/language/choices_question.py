"""What the multiple-choice tasks share: a question, its letters, and the rule that deals facts to the splits."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Split = Literal["training", "calibration", "test"]
LETTERS = "ABCD"


@dataclass(frozen=True)
class Question:
    """A multiple-choice question, or an exercise of the same form.

    Attributes:
        prompt: the text that the model reads: story, options, "Answer:".
        answer: the right option's letter; empty for an exercise without options.
        text: the text that the model is trained to write; it comes to the option in words, and to its letter last.
        story: the prompt without the options.
        options: the options in the order of their letters.
        facts: what the question asks to be known or combined, one key each; splits share none of them.
    """

    prompt: str
    answer: str
    text: str
    story: str
    options: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


def compose(
    story: str, reasoning: str, right: str, wrong: Sequence[str], position: int, facts: Sequence[str] = ()
) -> Question:
    """Returns a question.

    Args:
        story: what stands before the options.
        reasoning: the beginning of the model's text, up to the right option.
        right: the right option.
        wrong: the other options, in the order in which they fill the other places.
        position: the right option's place, from 0.
        facts: see `Question`.

    >>> compose("Which one flies?", "the bird is the", "robin", ["oak"], 1).prompt
    'Which one flies? oak (A) robin (B) Answer:'
    """
    options = (*wrong[:position], right, *wrong[position:])
    letter = LETTERS[position]
    return Question(
        prompt=f"{story} {listed(options)} Answer:",
        answer=letter,
        text=f"{reasoning} {right} ({letter})",
        story=story,
        options=options,
        facts=tuple(facts),
    )


def listed(options: Sequence[str]) -> str:
    """Returns options with their letters.

    Letters follow, as they do in a model's text, so that small models find them by the means by which they copy.

    >>> listed(["oak", "robin"])
    'oak (A) robin (B)'
    """
    return " ".join(f"{option} ({letter})" for letter, option in zip(LETTERS, options, strict=False))


def shuffled(source: random.Random, items: Sequence[str]) -> list[str]:
    """Returns the items in a random order."""
    return source.sample(items, len(items))


def words_of(*texts: str) -> set[str]:
    """Returns the words and marks of texts, without slots in braces.

    >>> sorted(words_of("It is {a}, so"))
    [',', 'It', 'is', 'so']
    """
    return set(re.findall(r"\w+|[.,?:]", re.sub(r"\{\w+\}", " ", " ".join(texts))))
