"""Questions on how an activity goes on, in the form of HellaSwag: the next step, another step, two of another activity.

What comes after a step is learnt in training. A fact is two steps of an activity that compete as options; facts are
dealt to the splits, so that every two steps of the test split meet as options for the first time. Either of them could
be the next one as far as the options tell.
"""

from __future__ import annotations

import random

from dataset_builders.mini.language.choices_question import Question, Split, compose, shuffled, words_of

NAME = "scripts"
OPTIONS = 4
NAMES = ("Mia", "Anna", "Lena", "Sara", "Nora", "Emma", "Tom", "Ben", "Omar", "Paul", "Ivan", "Hugo")
# Every step stands in one activity only.
SCRIPTS = {
    "make tea": ("boil", "warm", "spoon", "pour", "steep", "strain", "sweeten", "sip"),
    "bake bread": ("weigh", "mix", "knead", "prove", "shape", "bake", "cool", "slice"),
    "grow beans": ("dig", "rake", "sow", "water", "weed", "stake", "pick", "shell"),
    "paint a wall": ("clear", "scrape", "sand", "mask", "prime", "roll", "dry", "peel"),
    "wash clothes": ("sort", "soak", "scrub", "spin", "wring", "hang", "iron", "fold"),
    "go camping": ("pack", "hike", "unload", "pitch", "kindle", "roast", "sing", "sleep"),
    "mend a bike": ("flip", "unscrew", "inspect", "patch", "pump", "oil", "tighten", "ride"),
    "send a letter": ("write", "revise", "sign", "insert", "seal", "stamp", "post", "wait"),
    "go by train": ("book", "print", "queue", "board", "sit", "read", "stand", "alight"),
    "cook soup": ("rinse", "chop", "fry", "stir", "simmer", "season", "taste", "serve"),
    "bathe a dog": ("call", "lift", "wet", "lather", "hose", "towel", "comb", "reward"),
    "shoot a film": ("draft", "cast", "rehearse", "stage", "record", "cut", "dub", "screen"),
}
STORIES = (
    "{name} wants to {activity}. First {first}, then {second}. What comes next?",
    "To {activity}, {name} has to {first}, then {second}. And then?",
    "{name} is about to {activity}: {first}, {second}. What now?",
    "How does {name} {activity}? {first}, {second}. And then?",
)
SHORT_STORIES = (
    "{name} wants to {activity}. First {second}. What comes next?",
    "To {activity}, {name} has to {second}. And then?",
    "{name} is about to {activity}: {second}. What now?",
    "How does {name} {activity}? {second}. And then?",
)
REASONING = "after {step} comes"


def pair_split(script: int, first: int, second: int) -> Split:
    """Returns the split of an unordered pair of steps, by numbers from 1: of a script's 21, 6 test, 3 calibration.

    The pairs with one remainder have no step in common, so every step is in pairs of every split or nearly so.
    """
    place = (script + first + second) % 7
    return "test" if place in (0, 3) else "calibration" if place == 5 else "training"


def draw(source: random.Random, split: Split, position: int) -> Question:
    """Returns a question whose facts are of the split and whose right letter stands at `position`."""
    own, foreign = (_draw_pair(source, split, script) for script in source.sample(range(len(SCRIPTS)), 2))
    activity, (next_step, other) = own
    before, story = _tell(source, activity, SCRIPTS[activity].index(next_step))
    wrong = shuffled(source, [other, *foreign[1]])
    facts = [f"{name}: {' '.join(sorted(pair))}" for name, pair in (own, foreign)]
    return compose(story, REASONING.format(step=before), next_step, wrong, position, facts)


def draw_exercise(source: random.Random) -> Question:
    """Returns an exercise without options that tells what comes after a step."""
    activity, steps = source.choice(list(SCRIPTS.items()))
    index = source.randrange(1, len(steps))
    before, story = _tell(source, activity, index)
    return Question(f"{story} Answer:", "", f"{REASONING.format(step=before)} {steps[index]}", story)


def _draw_pair(source: random.Random, split: Split, script: int) -> tuple[str, list[str]]:
    """Returns an activity and two of its steps that are a pair of the split, in a random order."""
    activity, steps = list(SCRIPTS.items())[script]
    numbers = range(1, len(steps))
    pairs = [(p, q) for p in numbers for q in numbers if p < q and pair_split(script, p, q) == split]
    first, second = source.sample(source.choice(pairs), 2)
    return activity, [steps[first], steps[second]]


def _tell(source: random.Random, activity: str, index: int) -> tuple[str, str]:
    """Returns the step before that of a number, and a story that ends with it."""
    steps = SCRIPTS[activity]
    before = steps[index - 1]
    stories = STORIES if index > 1 else SHORT_STORIES
    story = source.choice(stories).format(
        name=source.choice(NAMES), activity=activity, first=steps[index - 2], second=before
    )
    return before, story


def options() -> list[str]:
    """Returns everything that can be an option."""
    return [step for steps in SCRIPTS.values() for step in steps[1:]]


def vocabulary() -> set[str]:
    """Returns the words and marks of all questions and exercises."""
    steps = [step for steps in SCRIPTS.values() for step in steps]
    return words_of(*NAMES, *SCRIPTS, *steps, *STORIES, *SHORT_STORIES, REASONING)
