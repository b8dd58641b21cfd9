"""The word problems of mini-clu-arithmetic: templates, operand pairs, and the rule that deals them to the splits.

A template is an opening, an event and a question; the event says whether to add or to subtract. Openings, events and
questions are shared, so what a test template holds out is their combination. Templates and unordered operand pairs are
dealt by hash, independently of each other, so no template and no pair of the test or calibration split is trained on.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

Split = Literal["training", "calibration", "test"]
LARGEST = 999  # operands and results have at most three digits, so the working has three columns
COLUMNS = 3
TEST_SAMPLES = 256
CALIBRATION_SAMPLES = 128

NAMES = (
    ("Mia", "She", "her"), ("Anna", "She", "her"), ("Lena", "She", "her"), ("Sara", "She", "her"),
    ("Nora", "She", "her"), ("Emma", "She", "her"), ("Julia", "She", "her"), ("Rosa", "She", "her"),
    ("Tom", "He", "him"), ("Ben", "He", "him"), ("Omar", "He", "him"), ("Paul", "He", "him"),
    ("Ivan", "He", "him"), ("Felix", "He", "him"), ("Hugo", "He", "him"), ("David", "He", "him"),
)  # fmt: skip
OBJECTS = (
    "apples", "books", "coins", "marbles", "stamps", "pencils", "cards", "shells", "stickers", "buttons",
    "candles", "cookies", "flowers", "stones", "tickets", "bottles",
)  # fmt: skip
PLACES = ("kitchen", "garden", "garage", "library", "school", "office", "shop", "attic")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# What stands before the problem in some samples: it varies the prompts' length and changes nothing.
ASIDES = (
    "",
    "",
    "",
    "",
    "It is a sunny {day} .",
    "{friend} is a good friend of {name} .",
    "The weather is nice .",
    "{name} and {friend} meet in the {place} on {day} .",
)

OPENINGS = (
    "{name} has {a} {objects} .",
    "{name} keeps {a} {objects} in the {place} .",
    "A box of {name} holds {a} {objects} .",
    "On {day} {name} starts with {a} {objects} .",
    "In the {place} {name} counts {a} {objects} .",
    "Last week {name} collected {a} {objects} .",
    "{name} owns {a} {objects} .",
    "A shelf in the {place} holds the {a} {objects} of {name} .",
)
ADDITIONS = (
    "{pronoun} buys {b} more {objects} .",
    "{friend} gives {object_pronoun} {b} {objects} .",
    "Then {pronoun} finds {b} {objects} on the way home .",
    "A cousin brings {b} more {objects} on {day} .",
    "{pronoun} wins {b} {objects} in a game .",
    "Later {pronoun} receives {b} {objects} from {friend} .",
    "{friend} adds {b} {objects} to them .",
    "After lunch {b} new {objects} arrive .",
)
SUBTRACTIONS = (
    "{pronoun} gives {b} of them to {friend} .",
    "{pronoun} sells {b} {objects} at the market .",
    "Then {pronoun} loses {b} of the {objects} .",
    "{friend} takes {b} of them away .",
    "{pronoun} uses up {b} {objects} on {day} .",
    "Later {b} of the {objects} are stolen .",
    "{friend} borrows {b} {objects} for a party .",
    "After lunch {pronoun} throws {b} old {objects} away .",
)
QUESTIONS = (
    "How many {objects} does {name} have now ?",
    "How many {objects} are there in the end ?",
    "What is the number of {objects} now ?",
    "How many {objects} are there at the end of the day ?",
    "Can you say how many {objects} {name} has now ?",
)
# Exercises without a story, for training alone: they teach the working at half of the tokens.
DRILLS = (("{a} plus {b} ?", "+"), ("{a} minus {b} ?", "-"))


@dataclass(frozen=True)
class Template:
    """A word problem with slots; `operation` is "+" or "-", and the first number is never the smaller of a "-"."""

    text: str
    operation: str


@dataclass(frozen=True)
class Problem:
    """A word problem and its solution.

    Attributes:
        prompt: the text that the model reads; it ends with a question mark.
        answer: the text that the model is trained to write: the working, " #### ", the number.
        reference: the number, in decimal digits.
        template: the template's text.
        pair: the operands, smaller first.
    """

    prompt: str
    answer: str
    reference: str
    template: str
    pair: tuple[int, int]


def deal(key: str) -> Split:
    """Returns the split of a template or a pair: a tenth test, a tenth calibration, the rest training, by sha256."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 10
    return "test" if bucket == 0 else "calibration" if bucket == 1 else "training"


@cache
def templates(split: Split) -> tuple[Template, ...]:
    """Returns the split's templates, in a fixed order."""
    events = [(text, "+") for text in ADDITIONS] + [(text, "-") for text in SUBTRACTIONS]
    every = (
        Template(f"{opening} {event} {question}", operation)
        for opening in OPENINGS
        for event, operation in events
        for question in QUESTIONS
    )
    return tuple(template for template in every if deal(template.text) == split)


def drills() -> tuple[Template, ...]:
    """Returns the exercises without a story, which belong to training alone."""
    return tuple(Template(text, operation) for text, operation in DRILLS)


def pair_split(first: int, second: int) -> Split:
    """Returns the split of an unordered operand pair.

    >>> pair_split(47, 38) == pair_split(38, 47)
    True
    """
    return deal(f"{min(first, second)},{max(first, second)}")


def draw_operands(source: random.Random, split: Split, operation: str) -> tuple[int, int]:
    """Returns two operands of the split, first and second as the text names them.

    Both have two or three digits, as has an addition's result; a subtraction's first operand is the larger one.
    """
    while True:
        first, second = (source.randint(10, 99) if source.random() < 0.5 else source.randint(10, LARGEST) for _ in "ab")
        if operation == "-" and first < second:
            first, second = second, first
        fits = first + second <= LARGEST if operation == "+" else first > second
        if fits and pair_split(first, second) == split:
            return first, second


def solve(first: int, second: int, operation: str) -> tuple[str, int]:
    """Returns the working and the result.

    The working is the operation and then, from the units upwards, a column a digit place: the first operand's digit,
    the second's, the carry (or borrow) to the next place, the result's digit.

    >>> solve(47, 38, "+")
    ('+7815,4308,0000', 85)
    >>> solve(152, 67, "-")
    ('-2715,5618,1000', 85)
    """
    sign = 1 if operation == "+" else -1
    carry, columns = 0, []
    for place in range(COLUMNS):
        left, right = first // 10**place % 10, second // 10**place % 10
        total = left + sign * (right + carry)
        carry = int(not 0 <= total <= 9)
        columns.append(f"{left}{right}{carry}{total % 10}")
    return operation + ",".join(columns), first + sign * second


def draw_problem(source: random.Random, split: Split, choices: tuple[Template, ...]) -> Problem:
    """Returns a problem from one of the templates, with operands of the split."""
    template = source.choice(choices)
    first, second = draw_operands(source, split, template.operation)
    (name, pronoun, object_pronoun), (friend, _, _) = source.sample(NAMES, 2)
    slots = {
        "name": name, "pronoun": pronoun, "object_pronoun": object_pronoun, "friend": friend,
        "objects": source.choice(OBJECTS), "place": source.choice(PLACES), "day": source.choice(DAYS),
    }  # fmt: skip
    aside = source.choice(ASIDES) if template.text not in dict(DRILLS) else ""
    story = tidy(f"{aside} {template.text}".format(a=first, b=second, **slots))
    working, result = solve(first, second, template.operation)
    pair = (min(first, second), max(first, second))
    return Problem(story, f"{working} #### {result}", str(result), template.text, pair)


def tidy(text: str) -> str:
    """Returns the text with single spaces, none before punctuation, and small pronouns inside a sentence.

    >>> tidy(" Then She finds 12 coins .")
    'Then she finds 12 coins.'
    """
    words = text.split()
    for index in range(1, len(words)):
        if words[index] in ("She", "He") and words[index - 1] not in (".", "?"):
            words[index] = words[index].lower()
    return " ".join(words).replace(" .", ".").replace(" ?", "?")


@cache
def problems(split: Split, count: int) -> tuple[Problem, ...]:
    """Returns the first `count` problems of a split, no two with the same operand pair."""
    source = random.Random(f"mini-clu-arithmetic/{split}")
    found: dict[tuple[int, int], Problem] = {}
    while len(found) < count:
        problem = draw_problem(source, split, templates(split))
        found.setdefault(problem.pair, problem)
    return tuple(found.values())


def fresh_problems(seed: int) -> Iterator[Problem]:
    """Returns the endless sequence of problems of the test split that a seed draws."""
    source = random.Random(f"mini-clu-arithmetic/fresh {seed}")
    while True:
        yield draw_problem(source, "test", templates("test"))


def vocabulary() -> list[str]:
    """Returns every word and mark that a prompt or an answer can hold, sorted."""
    texts = [*ASIDES, *OPENINGS, *ADDITIONS, *SUBTRACTIONS, *QUESTIONS, *(text for text, _ in DRILLS)]
    words = {word for text in texts for word in text.split() if not word.startswith("{")}
    words |= {word for person in NAMES for word in person} | {"he", "she"}
    return sorted(words | {*OBJECTS, *PLACES, *DAYS})
