"""Word error rate of transcripts: word edits over reference words, summed over samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.metrics._text import normalised_words
from harness.metrics.base import AdditiveMetric


def word_edits(prediction: Sequence[str], reference: Sequence[str]) -> int:
    """The least number of insertions, deletions and substitutions that turn one word list into the other.

    Example:
        >>> word_edits("a b c d".split(), "a x c".split())
        2
    """
    prediction, reference = sorted((prediction, reference), key=len)  # the distance has no direction, the loop is short
    ids = {word: index for index, word in enumerate(dict.fromkeys([*prediction, *reference]))}
    columns = np.array([ids[word] for word in reference], dtype=np.int64)
    steps = np.arange(len(reference) + 1)
    costs = steps.copy()  # from no prediction words to the first j reference words
    for word in prediction:
        best = costs + 1  # the prediction's word is one too many
        best[1:] = np.minimum(best[1:], costs[:-1] + (columns != ids[word]))
        costs = np.minimum.accumulate(best - steps) + steps  # or reference words are missing
    return int(costs[-1])


class WordErrorRate(AdditiveMetric):
    """Word edits over reference words.

    The convention: prediction and reference are compared by their words, which `normalised_words` finds in any script:
    without case and punctuation, letters, digits and combining marks alone.
    """

    name = "word-error-rate"
    direction = "down"
    range = (0.0, 1.0)
    accepts = ("text",)
    revision = 2

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``edits`` and ``words`` of the sample, after normalisation."""
        words = normalised_words(str(reference))
        return {"edits": float(word_edits(normalised_words(str(prediction)), words)), "words": float(len(words))}

    def score_of_sums(self, sums: Mapping[str, np.ndarray], samples: int) -> np.ndarray:
        """Edits over words; with no reference words at all, 0 without edits and 1 with."""
        edits, words = sums["edits"], sums["words"]
        return np.where(words > 0, edits / np.where(words > 0, words, 1), edits > 0)
