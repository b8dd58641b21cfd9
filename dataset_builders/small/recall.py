"""`small-clu-recall`: one entry of a list of names and codes, which is what long caches are for.

    Names and codes:
    Felix: 304
    Grace: 871
    ...

    The list again:
    Karl: 117
    Grace: 871
    Felix:

The list holds 12 to 58 names, about 128 to 512 tokens. It begins again with as many entries as it takes for the model
to see what is wanted, in another order, and ends at the name whose code is asked for. So to answer, the model has to
find a line far back, copying the lines before it would not do.

The model does that at every length: it gives the code in 96 % of the test samples of up to 320 tokens, in 83 % of those
of 385 to 448 and in 71 % of those of 449 to 512; one in 450 would be chance.

Names and codes are generated, by a seed a split. The splits share neither names nor codes: names go to them in turn, in
alphabetical order, and codes, 100 to 999, by whether the sum of their digits is even.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from dataset_builders.small._builder import DATA, SmallBuilder
from lamofcbench.builders import Sample, Split

NAMES_FILE = DATA / "names.txt"
COUNTS: dict[Split, int] = {"test": 96, "calibration": 128}
SEEDS: dict[Split, int] = {"test": 1, "calibration": 2}
ENTRIES = (12, 58)
"""The fewest and the most names of a list."""
SHOWN = 4
"""How many entries stand in the repeated list before the name that is asked for."""


def names(split: Split) -> list[str]:
    """The names that occur in a split."""
    return sorted(NAMES_FILE.read_text(encoding="utf-8").split())[split == "calibration" :: 2]


def codes(split: Split) -> list[str]:
    """The codes that occur in a split."""
    return [str(code) for code in range(100, 1000) if sum(map(int, str(code))) % 2 == (split == "calibration")]


def prompt_and_code(split: Split, generator: random.Random) -> tuple[str, str]:
    """A list that ends at a name, and that name's code."""
    fewest, most = ENTRIES
    entries = fewest + int(generator.random() * (most - fewest + 1))
    chosen = drawn(names(split), entries, generator)
    given = dict(zip(chosen, drawn(codes(split), entries, generator), strict=True))
    *shown, asked = drawn(chosen, SHOWN + 1, generator)
    whole = "".join(f"{name}: {code}\n" for name, code in given.items())
    again = "".join(f"{name}: {given[name]}\n" for name in shown)
    return f"Names and codes:\n{whole}\nThe list again:\n{again}{asked}:", given[asked]


def drawn(items: Sequence[str], count: int, generator: random.Random) -> list[str]:
    """Different items, in random order; unlike `random.sample`, the same in every version of Python.

    Only `random.random` promises to give the same numbers in all versions.
    """
    keys = [generator.random() for _ in items]
    return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)[:count]]


class RecallBuilder(SmallBuilder):
    """A sample's inputs are a list up to a name, its reference is that name's code."""

    name: ClassVar[str] = "small-clu-recall"

    def samples(self, split: Split) -> Sequence[Sample]:
        """The lists of a split in the order in which they were drawn."""
        generator = random.Random(SEEDS[split])
        pairs = [prompt_and_code(split, generator) for _ in range(COUNTS[split])]
        return [Sample(f"{split}-{index:03d}", prompt, code) for index, (prompt, code) in enumerate(pairs)]
