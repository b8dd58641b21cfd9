"""`small-clu-prose`: real prose, of which the model has to predict the next 32 tokens.

The texts are those of `_books`: talks and chapters, which go to the test (even) and the calibration split (odd) in
turn, by their position in the book. Passages walk through a section without overlap: one begins at the beginning of a
paragraph, takes as many paragraphs as it needs, and the next begins at the next paragraph. A passage has 64 to 256
tokens of prompt and 32 that are to be predicted. The length is the longer of two even draws of a seeded generator:
the shorter a prompt, the less its features tell of the next 32 tokens, and uncoded features have to score a fifth of
the metric's range better than their mean.

Speakers repeat titles and definitions, so a calibration passage that has 12 tokens running in common with a test
passage is left out. Of what remains those passages stay whose hashes come first, in the order of the hashes, so that
any number of first samples is of both books.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from dataset_builders.small._books import Section, sections
from dataset_builders.small._builder import SmallBuilder
from dataset_builders.small._model import converted_model
from lamofcbench.builders import Sample, Split

if TYPE_CHECKING:
    from tokenizers import Tokenizer

COUNTS: dict[Split, int] = {"test": 96, "calibration": 128}
SEEDS: dict[Split, int] = {"test": 1, "calibration": 2}
PROMPT_TOKENS = (64, 256)
SCORED_TOKENS = 32
WINDOW_TOKENS = 12
LENGTH_DRAWS = 2
_PARITY: dict[Split, int] = {"test": 0, "calibration": 1}


@dataclass(frozen=True)
class Passage:
    """A piece of a book.

    Attributes:
        section: ``<book>-<section>``.
        tokens: of prompt and continuation.
        text: the same as text.
        continuation: the text of the last `SCORED_TOKENS` tokens.
    """

    section: str
    tokens: tuple[int, ...]
    text: str
    continuation: str

    @property
    def digest(self) -> str:
        """Hex sha256 of the text in UTF-8."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def sections_of(split: Split) -> list[Section]:
    """The talks and chapters of a split."""
    return [section for section in sections() if section.number % 2 == _PARITY[split]]


@functools.cache
def passages(split: Split) -> tuple[Passage, ...]:
    """The passages of a split, first hashes first.

    Raises:
        DataError: if books or model are missing.
    """
    found = _all_passages(split)
    if split == "calibration":
        known = {window for passage in _all_passages("test") for window in windows(passage)}
        found = [passage for passage in found if known.isdisjoint(windows(passage))]
    return tuple(sorted(found, key=lambda passage: passage.digest)[: COUNTS[split]])


def windows(passage: Passage) -> Iterator[tuple[int, ...]]:
    """All runs of `WINDOW_TOKENS` tokens."""
    return (passage.tokens[i : i + WINDOW_TOKENS] for i in range(len(passage.tokens) - WINDOW_TOKENS + 1))


def _all_passages(split: Split) -> list[Passage]:
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_file(str(converted_model() / "tokenizer.json"))
    generator = random.Random(SEEDS[split])
    return [passage for section in sections_of(split) for passage in _walk(section, tokenizer, generator)]


def _walk(section: Section, tokenizer: Tokenizer, generator: random.Random) -> Iterator[Passage]:
    rest = list(section.paragraphs)
    while rest:
        fewest, most = PROMPT_TOKENS
        longest = max(generator.random() for _ in range(LENGTH_DRAWS))
        length = fewest + int(longest * (most - fewest + 1)) + SCORED_TOKENS
        taken: list[str] = []
        tokens: list[int] = []
        while rest and len(tokens) < length:
            taken.append(rest.pop(0))
            tokens = tokenizer.encode("\n\n".join(taken), add_special_tokens=False).ids
        if len(tokens) >= length:  # else the section has ended
            tokens = tokens[:length]
            continuation = tokenizer.decode(tokens[-SCORED_TOKENS:])
            yield Passage(f"{section.book}-{section.number:02d}", tuple(tokens), tokenizer.decode(tokens), continuation)


class ProseBuilder(SmallBuilder):
    """A sample's inputs are the token ids of prompt and continuation, its reference is the continuation's text."""

    name: ClassVar[str] = "small-clu-prose"

    def samples(self, split: Split) -> Sequence[Sample]:
        """The passages of a split."""
        return [
            Sample(f"{passage.section}-{passage.digest[:8]}", torch.tensor(passage.tokens), passage.continuation)
            for passage in passages(split)
        ]

    def content_hash(self, sample: Sample) -> str:
        """The hex sha256 of the token ids, as decimal numbers with spaces between them."""
        return hashlib.sha256(" ".join(map(str, sample.inputs.tolist())).encode()).hexdigest()
