"""Exact match of the answer letter of a multiple choice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.metrics.base import ShareCorrect
from lamofcbench.errors import DataError

# Tried in this order. Within the first, the last mention counts, because reasoning comes before the conclusion; a
# letter alone in a sentence ("A dog ...") is taken only at the very start with a mark after it, or as the whole text.
_STATED = re.compile(
    r"\b(?i:answer|choice|option)(?:\s+(?i:is|would\s+be|should\s+be))?\s*[:=]?\s*[*\"'(\[]*([A-Za-z])(?![\w'])"
)
_LEADING = re.compile(r"\s*[*\"'(\[]*([A-Za-z])(?:[*\"'\])]*\s*(?:$|[.:,;)\]\n])|[*\"')\]]+)")
_BRACKETED = re.compile(r"\(([A-Z])\)|\b([A-Z])\)")


def answer_letter(text: str) -> str | None:
    """The upper-case letter that a text answers with; None where it names none.

    Example:
        >>> [answer_letter(t) for t in ("B", "(c) because", "A dog. The answer is D.", "a dog barks", "I think (B)")]
        ['B', 'C', 'D', None, 'B']
    """
    stated = _STATED.findall(text)
    if stated:
        return str(stated[-1]).upper()
    leading = _LEADING.match(text)
    if leading:
        return leading[1].upper()
    bracketed = _BRACKETED.findall(text)
    return (bracketed[-1][0] or bracketed[-1][1]) if bracketed else None


class ExactMatchLetter(ShareCorrect):
    """Compares the letter that the prediction answers with the reference's letter."""

    name = "exact-match-letter"
    direction = "up"
    range = (0.0, 1.0)
    accepts = ("text",)

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``correct``: 1 where the letters agree; a prediction with no letter is wrong."""
        expected = answer_letter(str(reference))
        if expected is None:
            raise DataError(f"reference {str(reference)[:80]!r} holds no answer letter to match")
        return {"correct": float(answer_letter(str(prediction)) == expected)}
