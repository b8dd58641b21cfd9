"""Answer accuracy: the share of texts that give the short reference answer, by its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.metrics._text import normalised_words
from harness.metrics.base import ShareCorrect
from lamofcbench.errors import DataError
from lamofcbench.references import shown

_ARTICLES = frozenset({"a", "an", "the"})


def answer_words(text: str) -> list[str]:
    """The words of an answer, lower case, without punctuation and articles.

    Example:
        >>> answer_words("In the Garden!")
        ['in', 'garden']
    """
    return [word for word in normalised_words(text) if word not in _ARTICLES]


def gives_answer(text: str, *answers: str) -> bool:
    """Whether the words of one of some answers stand in a text, one after the other.

    Example:
        >>> [gives_answer("It lives in the old garden.", a) for a in ("the garden", "old gardens", "in old garden")]
        [True, False, True]
    """
    joined = _joined(answer_words(text))  # once, however many answers there are
    return any(_joined(answer_words(answer)) in joined for answer in answers)


def _joined(words: Sequence[str]) -> str:
    """Words as one string in which only whole words can be found; long texts are then searched in linear time."""
    return f" {' '.join(words)} "


class AnswerAccuracy(ShareCorrect):
    """Whether a text gives the reference, or one of several that ``|`` separates.

    The convention: of both, the words are taken, as `normalised_words` finds them, and the articles left out; then the
    reference's words must stand in the text, whole and one after the other, whatever stands around them. So a full
    sentence counts, a part of a word or of a number such as 3.5 does not, and no meaning beyond the words is judged,
    unlike where a language model is the judge.
    """

    name = "answer-accuracy"
    direction = "up"
    range = (0.0, 1.0)
    accepts = ("text",)
    revision = 2

    def check_reference(self, reference: Any) -> None:
        """Raises DataError for a reference without words."""
        self._accepted(reference)

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``correct``: 1 where the text gives an accepted answer."""
        return {"correct": float(gives_answer(str(prediction), *self._accepted(reference)))}

    def _accepted(self, reference: Any) -> list[str]:
        accepted = [answer for answer in str(reference).split("|") if answer_words(answer)]
        if not accepted:
            raise DataError(f"the reference {shown(reference)} holds no word to look for")
        return accepted
