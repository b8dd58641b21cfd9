"""Exact match of the last number in a text, as GSM8K answers are judged (Cobbe et al., arXiv 2110.14168)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from harness.metrics.base import ShareCorrect
from lamofcbench.errors import DataError

# A minus right after a digit, letter or bracket is a subtraction or a hyphen, not a sign. Thousands are separated in
# groups of three only, so that "3,4" is two numbers. A full stop that no digit follows ends the sentence.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]])[-+])?\s?[$€£]?(?P<inner>(?<=[$€£])-)?"
    r"(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|(?<![\w.])\.[0-9]+)",
)
_DASHES = str.maketrans({"\N{MINUS SIGN}": "-", "\N{FULLWIDTH HYPHEN-MINUS}": "-"})


def last_number(text: str) -> Decimal | None:
    """The last number of a text; None where there is none.

    Example:
        >>> last_number("She pays 3 * 400 = $1,200.50."), last_number("so it is -7."), last_number("none")
        (Decimal('1200.50'), Decimal('-7'), None)
        >>> last_number("12-5"), last_number("either 3,4")
        (Decimal('5'), Decimal('4'))
    """
    matches = deque(_NUMBER.finditer(text.translate(_DASHES)), maxlen=1)
    if not matches:
        return None
    last = matches[0]
    negative = "-" in (last["sign"] or "") + (last["inner"] or "")
    value = Decimal(last["digits"].replace(",", ""))
    return -value if negative else value


class ExactMatchNumber(ShareCorrect):
    """Compares the last number of the prediction with the last number of the reference, by value."""

    name = "exact-match-number"
    direction = "up"
    range = (0.0, 1.0)
    accepts = ("text",)

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``correct``: 1 where the numbers are equal; a prediction with no number is wrong."""
        expected = last_number(str(reference))
        if expected is None:
            raise DataError(f"reference {str(reference)[:80]!r} holds no number to match")
        return {"correct": float(last_number(str(prediction)) == expected)}
