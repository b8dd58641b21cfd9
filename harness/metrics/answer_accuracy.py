"""Answer accuracy: the share of texts that give the short reference answer, by its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.metrics.base import ShareCorrect
from harness.metrics.word_error_rate import normalised_words
from lamofcbench.errors import DataError

_ARTICLES = frozenset({"a", "an", "the"})


def answer_words(text: str) -> list[str]:
    """The words of an answer, lower case, without punctuation and articles.

    Example:
        >>> answer_words("In the Garden!")
        ['in', 'garden']
    """
    return [word for word in normalised_words(text) if word not in _ARTICLES]


def gives_answer(text: str, answer: str) -> bool:
    """Whether an answer's words stand in a text, one after the other.

    Example:
        >>> [gives_answer("It lives in the old garden.", a) for a in ("the garden", "old gardens", "in old garden")]
        [True, False, True]
    """
    words, wanted = answer_words(text), answer_words(answer)
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))


class AnswerAccuracy(ShareCorrect):
    """Whether a text gives the reference, or one of several that ``|`` separates.

    The convention: both are lower-cased and lose punctuation and articles; then the reference's words must stand in the
    text, whole and one after the other, whatever stands around them. So a full sentence counts, a part of a word does
    not, and no meaning beyond the words is judged, unlike where a language model is the judge.
    """

    name = "answer-accuracy"
    direction = "up"
    range = (0.0, 1.0)
    accepts = ("text",)

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``correct``: 1 where the text gives an accepted answer."""
        accepted = [answer for answer in str(reference).split("|") if answer_words(answer)]
        if not accepted:
            raise DataError(f"reference {str(reference)[:80]!r} holds no word to look for")
        return {"correct": float(any(gives_answer(str(prediction), answer) for answer in accepted))}
