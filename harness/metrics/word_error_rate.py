"""Word error rate of transcripts: word edits over reference words, summed over samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from harness.metrics._lists import list_identity
from harness.metrics._text import normalised_words
from harness.metrics._whisper_text import WhisperWords, read_spellings
from harness.metrics.base import AdditiveMetric
from lamofcbench.errors import ScenarioError


def word_edits(prediction: Sequence[str], reference: Sequence[str]) -> int:
    """The least number of insertions, deletions and substitutions that turn one word list into the other.

    Example:
        >>> word_edits("a b c d".split(), "a x c".split())
        2
    """
    # Hyyrö, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances" (2003): a bit of these
    # integers is a word of the longer list, set where one word more costs one edit more (rises) or less (falls). So the
    # longest texts that there are take a second.
    shorter, longer = sorted((prediction, reference), key=len)  # the distance has no direction
    places = dict.fromkeys(shorter, 0)
    for index, word in enumerate(longer):
        if word in places:
            places[word] |= 1 << index
    every = (1 << len(longer)) - 1
    rises, falls = every, 0
    for word in shorter:
        here = places[word]
        level = (((here & rises) + rises) ^ rises) | here
        up, down = falls | ~(level | rises), rises & level  # from the column before to this one
        up, down, here = (up << 1) | 1, down << 1, here | falls
        rises, falls = (down | ~(here | up)) & every, up & here & every
    return len(shorter) + rises.bit_count() - falls.bit_count()


class WordErrorRate(AdditiveMetric):
    """Word edits over reference words.

    The convention: prediction and reference are compared by their words, which `normalised_words` finds in any script:
    without case and punctuation, letters, digits and combining marks alone.

    Args:
        words: ``own`` for that convention; ``whisper`` for Whisper's normaliser of English, as published.
        spellings: for ``whisper``, the table of spellings or its file; None for that of an installed package. All of
            them hold the same table.
    """

    name = "word-error-rate"
    direction = "down"
    range = (0.0, 1.0)
    accepts = ("text",)
    revision = 2
    file_options: ClassVar = {"spellings": read_spellings}

    def __init__(self, words: str = "own", spellings: str | Mapping[str, str] | None = None) -> None:
        super().__init__(words=words, spellings=spellings)
        if words not in ("own", "whisper") or (words == "own" and spellings is not None):
            raise ScenarioError(f"word-error-rate: words are {words!r}; give own, or whisper, which may have spellings")
        self.words, self.spellings = words, spellings

    @property
    def rules(self) -> str:
        """The table of spellings, where there is one."""
        if self.words == "own":
            return ""
        table = read_spellings(self.spellings) if not isinstance(self.spellings, Mapping) else self.spellings
        return list_identity("spellings", [f"{one}={other}" for one, other in sorted(table.items())])

    @cached_property
    def _words(self) -> Callable[[str], list[str]]:
        return normalised_words if self.words == "own" else WhisperWords(self.spellings)

    def check_reference(self, reference: Any) -> None:
        """Raises PluginError where what finds the words is not installed."""
        self._words(str(reference))

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``edits`` and ``words`` of the sample, after normalisation."""
        words = self._words(str(reference))
        return {"edits": float(word_edits(self._words(str(prediction)), words)), "words": float(len(words))}

    def score_of_sums(self, sums: Mapping[str, np.ndarray], samples: int) -> np.ndarray:
        """Edits over words; with no reference words at all, 0 without edits and 1 with."""
        edits, words = sums["edits"], sums["words"]
        return np.where(words > 0, edits / np.where(words > 0, words, 1), edits > 0)
