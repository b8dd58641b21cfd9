"""Questions on what a pronoun means, in the form of WinoGrande: two nouns, and a word that decides between them.

"The piano does not fit into the crate because it is wide": change one word and the answer changes. Two things are held
out together: pairs of nouns, and the combinations of a verb, a deciding word and a wording.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from dataset_builders.mini.language.choices_question import Question, Split, compose, words_of

NAME = "pronouns"
OPTIONS = 2
PEOPLE = ("doctor", "farmer", "singer", "lawyer", "baker", "pilot", "nurse", "painter", "sailor", "tailor", "judge",
          "butcher", "clerk", "miner", "dancer", "waiter")  # fmt: skip
THINGS = ("piano", "statue", "barrel", "mirror", "chest", "table", "trunk", "globe", "crate", "bench", "ladder",
          "stove", "kettle", "carpet", "wardrobe", "cradle")  # fmt: skip


class Schema(NamedTuple):
    """A verb between two nouns, and the words that make the pronoun mean the first or the second of them."""

    nouns: tuple[str, ...]
    verb: str
    first: tuple[str, str, str]
    second: tuple[str, str, str]


# What means the first noun of the first verb means the second noun of the next: the verb has to be read as well.
SCHEMAS = (
    Schema(THINGS, "does not fit into", ("big", "bulky", "wide"), ("small", "narrow", "tiny")),
    Schema(THINGS, "disappears behind", ("small", "narrow", "tiny"), ("big", "bulky", "wide")),
    Schema(THINGS, "crushes", ("heavy", "hard", "massive"), ("fragile", "soft", "brittle")),
    Schema(THINGS, "costs more than", ("rare", "precious", "antique"), ("common", "cheap", "ordinary")),
    Schema(PEOPLE, "outruns", ("fast", "fit", "quick"), ("slow", "tired", "sluggish")),
    Schema(PEOPLE, "begs from", ("poor", "broke", "needy"), ("rich", "generous", "wealthy")),
    Schema(PEOPLE, "carries", ("strong", "healthy", "sturdy"), ("weak", "injured", "frail")),
)
WORDINGS = (
    "The {x} {verb} the {y} because {pronoun} is {trigger}.",
    "Because {pronoun} is {trigger}, the {x} {verb} the {y}.",
    "The {x} {verb} the {y}, for {pronoun} is so {trigger}.",
    "Since {pronoun} is so {trigger}, the {x} {verb} the {y}.",
    "The {x} {verb} the {y}, as {pronoun} is rather {trigger}.",
    "As {pronoun} is rather {trigger}, the {x} {verb} the {y}.",
)
QUESTION = "Which one is {trigger}?"
REASONING = "the {rank} means the"


def wording_split(schema: int, trigger: int, wording: int) -> Split:
    """Returns the split of a combination, by numbers; triggers 0 to 2 mean the first noun, 3 to 5 the second.

    Of each verb and wording, training has two triggers that mean the first noun and two that mean the second, and of
    each trigger and wording both of the verbs that read it differently or none, lest any two of the three tell the
    answer without the third. Of the other two triggers, one is test and one calibration.
    """
    kind, number = divmod(trigger, 3)
    pair = schema // 2
    if number != (pair + wording) % 3:
        return "training"
    return "test" if kind == (schema + wording // 3) % 2 else "calibration"


def pair_split(first: int, second: int) -> Split:
    """Returns the split of an unordered pair of nouns, by their numbers."""
    place = (first + second) % 5
    return "test" if place == 0 else "calibration" if place == 1 else "training"


def draw(source: random.Random, split: Split, position: int) -> Question:
    """Returns a question of the split whose right letter stands at `position`."""
    index = source.randrange(len(SCHEMAS))
    schema = SCHEMAS[index]
    triggers = (*schema.first, *schema.second)
    trigger = source.randrange(len(triggers))
    wording = source.choice([i for i in range(len(WORDINGS)) if wording_split(index, trigger, i) == split])
    while True:
        x, y = source.sample(range(len(schema.nouns)), 2)
        if pair_split(x, y) == split:
            break
    nouns = schema.nouns[x], schema.nouns[y]
    rank, (meant, other) = ("first", nouns) if trigger < len(schema.first) else ("second", nouns[::-1])
    sentence = WORDINGS[wording].format(
        x=nouns[0],
        y=nouns[1],
        verb=schema.verb,
        pronoun="he" if schema.nouns is PEOPLE else "it",
        trigger=triggers[trigger],
    )
    facts = [" ".join(sorted(nouns)), f"{schema.verb}/{triggers[trigger]}/{WORDINGS[wording]}"]
    story = f"{sentence} {QUESTION.format(trigger=triggers[trigger])}"
    return compose(story, REASONING.format(rank=rank), meant, [other], position, facts)


def options() -> list[str]:
    """Returns everything that can be an option."""
    return [*PEOPLE, *THINGS]


def vocabulary() -> set[str]:
    """Returns the words and marks of all questions."""
    triggers = [word for schema in SCHEMAS for word in (*schema.first, *schema.second)]
    verbs = [schema.verb for schema in SCHEMAS]
    return words_of(*PEOPLE, *THINGS, *triggers, *verbs, *WORDINGS, QUESTION, REASONING, "first second he it")
