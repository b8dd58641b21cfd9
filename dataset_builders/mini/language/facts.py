"""Questions on facts about things, in the form of ARC: four options of four kinds, one of which has the attribute.

What a thing is (a robin is a bird) and what a kind has (a bird has feathers) is learnt in training; what the thing has
follows. A fact is a thing and an attribute. Facts are dealt to the splits so that each thing, and each attribute, has
as many facts in a split as any other: an option is right equally often in all of them.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from dataset_builders.mini.language.choices_question import Question, Split, compose, words_of

NAME = "facts"
OPTIONS = 4


class Kind(NamedTuple):
    """A kind of things: as many attributes as things, and no attribute fits a thing of another kind."""

    name: str
    things: tuple[str, ...]
    attributes: tuple[str, ...]


KINDS = (
    Kind(
        "bird",
        ("robin", "sparrow", "heron", "owl", "stork", "finch", "raven", "swan"),
        ("has feathers", "has a beak", "sits in a nest", "pecks at seeds", "sings before dawn", "feeds its chicks",
         "migrates in autumn", "perches on branches"),
    ),
    Kind(
        "fish",
        ("trout", "salmon", "herring", "carp", "cod", "perch", "tuna", "eel"),
        ("has gills", "has fins", "breathes under water", "swims in shoals", "flees from sharks", "dies on land",
         "is caught with nets", "hides in reefs"),
    ),
    Kind(
        "tree",
        ("oak", "birch", "maple", "willow", "pine", "elm", "cedar", "poplar"),
        ("has bark", "grows leaves", "spreads its roots", "gives us timber", "casts shade", "turns light into sugar",
         "adds a ring each year", "starts as a sapling"),
    ),
    Kind(
        "insect",
        ("ant", "wasp", "beetle", "moth", "cricket", "hornet", "locust", "termite"),
        ("has six legs", "has feelers", "sees with compound eyes", "starts as a larva", "is trapped by spiders",
         "crawls through tiny cracks", "sheds its shell", "swarms in summer"),
    ),
    Kind(
        "tool",
        ("hammer", "chisel", "spade", "wrench", "drill", "pliers", "rasp", "crowbar"),
        ("lies in a toolbox", "is sold by ironmongers", "repairs a shed", "helps a carpenter", "shapes wood",
         "hangs above a workbench", "needs a firm grip", "loosens a screw"),
    ),
    Kind(
        "vehicle",
        ("bus", "lorry", "tram", "taxi", "van", "tractor", "jeep", "ambulance"),
        ("carries passengers", "needs a driver", "burns fuel", "has an engine", "stops at crossings",
         "shines its headlights", "is parked in a garage", "rolls on wheels"),
    ),
    Kind(
        "instrument",
        ("violin", "flute", "trumpet", "cello", "harp", "oboe", "guitar", "clarinet"),
        ("makes music", "plays a melody", "is heard at concerts", "needs tuning", "follows a conductor",
         "sounds in an orchestra", "is practised with scales", "accompanies a choir"),
    ),
    Kind(
        "garment",
        ("shirt", "coat", "skirt", "jacket", "sweater", "scarf", "vest", "dress"),
        ("is sewn by tailors", "is made of cloth", "fits a body", "hangs in a wardrobe", "keeps us warm",
         "is washed and ironed", "is folded into suitcases", "comes in several sizes"),
    ),
)  # fmt: skip
QUESTIONS = (
    "Which one {attribute}?",
    "Which of these {attribute}?",
    "What {attribute}?",
    "Find the one that {attribute}.",
    "One of these {attribute}. Which one?",
)
KIND_EXERCISE, ATTRIBUTE_EXERCISE = "What kind is the {thing}?", "What {attribute}?"


def fact_split(thing: int, attribute: int) -> Split:
    """Returns the split of a fact, by the numbers of thing and attribute within their kind: 2 of 8 test, 1 calibration.

    >>> [fact_split(3, attribute) for attribute in range(8)].count("test")
    2
    """
    place = (thing + attribute) % 8
    return "test" if place in (0, 3) else "calibration" if place == 5 else "training"


def draw(source: random.Random, split: Split, position: int) -> Question:
    """Returns a question whose fact is of the split and whose right letter stands at `position`."""
    kinds = source.sample(KINDS, OPTIONS)
    kind = kinds[0]
    thing = source.randrange(len(kind.things))
    attribute = source.choice([i for i in range(len(kind.attributes)) if fact_split(thing, i) == split])
    story = source.choice(QUESTIONS).format(attribute=kind.attributes[attribute])
    wrong = [source.choice(other.things) for other in kinds[1:]]
    fact = f"{kind.things[thing]} {kind.attributes[attribute]}"
    return compose(story, f"the {kind.name} is the", kind.things[thing], wrong, position, [fact])


def draw_exercise(source: random.Random) -> Question:
    """Returns an exercise on what training may tell: the kind of a thing, or the kind that has an attribute."""
    kind = source.choice(KINDS)
    thing, attribute = source.choice(kind.things), source.choice(kind.attributes)
    if source.random() < 0.5:
        story, text = KIND_EXERCISE.format(thing=thing), f"the {kind.name} is the {thing}"
    else:
        story, text = ATTRIBUTE_EXERCISE.format(attribute=attribute), f"the {kind.name}"
    return Question(f"{story} Answer:", "", text, story)


def options() -> list[str]:
    """Returns everything that can be an option."""
    return [thing for kind in KINDS for thing in kind.things]


def vocabulary() -> set[str]:
    """Returns the words and marks of all questions and exercises."""
    attributes = [attribute for kind in KINDS for attribute in kind.attributes]
    kinds = [kind.name for kind in KINDS]
    return words_of(*options(), *attributes, *kinds, *QUESTIONS, KIND_EXERCISE, ATTRIBUTE_EXERCISE, "the is")
