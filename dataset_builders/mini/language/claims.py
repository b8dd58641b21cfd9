"""Questions on what is true among what is said, in the form of TruthfulQA: the salient claim is the misleading one.

Several people say where a thing is. One of them knows, because of having seen it; the others guess, and two of them
agree on a place that is wrong. A fact is a thing and a place. The things and places of a question, wrong options
included, are pairs of the question's own split.
"""

from __future__ import annotations

import random

from dataset_builders.mini.language.choices_question import Question, Split, compose, shuffled, words_of

NAME = "claims"
OPTIONS = 4
NAMES = ("Mia", "Anna", "Lena", "Sara", "Nora", "Emma", "Tom", "Ben", "Omar", "Paul", "Ivan", "Hugo", "Julia", "Felix",
         "Rosa", "David")  # fmt: skip
OBJECTS = ("key", "ring", "purse", "ball", "map", "lamp", "clock", "book", "cup", "knife", "vase", "mask", "drum",
           "doll", "coin", "rope", "bell", "glove", "phone", "basket")  # fmt: skip
PLACES = ("attic", "garden", "cellar", "kitchen", "office", "school", "shop", "park", "hall", "barn", "museum",
          "library", "hotel", "tower", "tent", "chapel", "studio", "bakery", "stable", "harbour")  # fmt: skip
KNOWING = ("saw it in", "found it in", "touched it in", "filmed it in", "checked it in", "noticed it in")
GUESSING = (
    "guesses it is in",
    "imagines it in",
    "suspects it in",
    "jokes it is in",
    "dreams it is in",
    "bets it is in",
)
STORIES = (
    "Where is the {thing}? {claims}",
    "The {thing} is lost. {claims} Where is it?",
    "{claims} Where is the {thing}?",
)
REASONING = "someone {phrase} the"
CLAIM = "{name} {phrase} the {place}."


def pair_split(thing: int, place: int) -> Split:
    """Returns the split of a thing and a place, by their numbers: of a thing's 20 places, 6 test and 5 calibration."""
    index = (thing + place) % 20
    return "test" if index in (0, 3, 6, 9, 13, 17) else "calibration" if index in (1, 5, 11, 14, 18) else "training"


def draw(source: random.Random, split: Split, position: int) -> Question:
    """Returns a question whose pairs are of the split and whose right letter stands at `position`."""
    thing = source.randrange(len(OBJECTS))
    allowed = [place for index, place in enumerate(PLACES) if pair_split(thing, index) == split]
    true, repeated, rare, unmentioned = source.sample(allowed, OPTIONS)
    names = source.sample(NAMES, 4)
    knowing = source.choice(KNOWING)
    said = [(knowing, true), *zip(source.sample(GUESSING, 3), (repeated, repeated, rare), strict=True)]
    if source.random() < 0.5:
        del said[3]  # the rarer of the wrong claims
    claims = [
        CLAIM.format(name=name, phrase=phrase, place=place) for name, (phrase, place) in zip(names, said, strict=False)
    ]
    story = source.choice(STORIES).format(thing=OBJECTS[thing], claims=" ".join(shuffled(source, claims)))
    wrong = shuffled(source, [repeated, rare, unmentioned])
    facts = [f"{OBJECTS[thing]} {place}" for place in (true, *wrong)]
    return compose(story, REASONING.format(phrase=knowing), true, wrong, position, facts)


def options() -> list[str]:
    """Returns everything that can be an option."""
    return list(PLACES)


def vocabulary() -> set[str]:
    """Returns the words and marks of all questions."""
    return words_of(*NAMES, *OBJECTS, *PLACES, *KNOWING, *GUESSING, *STORIES, CLAIM, REASONING)
