"""Exact match of the answer letter of a multiple choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import regex

from harness.metrics._text import seen
from harness.metrics.base import ShareCorrect
from lamofcbench.errors import DataError
from lamofcbench.references import shown

# A letter that is not part of a word, a compound (x-ray), an abbreviation (U.S.), a name (C++) or a formula (x = 5).
_ALONE = r"(?![\p{L}\p{M}\p{N}+#] | '\p{L} | -[\p{L}\p{N}] | \.\p{L}(?![\p{L}\p{M}]) | \ ?=)"
_LETTER = rf"(?P<letter>[A-Za-z]){_ALONE}"
_STATED = regex.compile(
    rf"""(?V1x)
    \b(?i:answer|choice|option)\b [*_]*+
    (?: (?: '(?i:s) | \s (?i: is | (?:would|should|must)\ be ) ) \b )?+ [*_]*+
    (?P<mark> \s?(?: [-=]> | [:=→\p{{Pd}}] ) )?+
    (?P<opened> \s?[*_"'(\[{{]++ )*+ \s?
    {_LETTER}
    (?: \ [*_"']*+ (?P<next> [\p{{L}}\p{{N}}]++ ) (?!-) | (?P<next>\ (?=[*_"']*+[\p{{L}}\p{{N}}])) )?+
    """
)
_LEADING = regex.compile(
    rf"""(?V1x) \s?[*_"'(\[{{]*+ {_LETTER} (?: [*_"')\]}}]++ | \s?(?: $ | [.:,;!?。、)\]\n] | \p{{Pd}}\s ) )"""
)
_BRACKETED = regex.compile(r"\((?P<letter>[A-Z])\)|(?<![\p{L}\p{M}\p{N}.'-])(?P<letter>[A-Z])\)")
_AFTER_NO_ARTICLE = frozenset({
    "a", "also", "an", "and", "are", "as", "at", "because", "but", "by", "can", "cannot", "did", "does", "due", "for",
    "from", "had", "has", "have", "if", "in", "is", "it", "must", "nor", "not", "of", "on", "or", "should", "since",
    "so", "than", "that", "the", "then", "therefore", "though", "to", "was", "were", "when", "where", "which",
    "while", "who", "will", "with", "would",
})  # fmt: skip


def answer_letter(text: str) -> str | None:
    """The upper-case letter that a text answers with; None where it names none. `ExactMatchLetter` states the rules.

    Example:
        >>> [answer_letter(t) for t in ("B", "(c) because", "A dog. The answer is D.", "a dog barks", "I think (B)")]
        ['B', 'C', 'D', None, 'B']
        >>> [answer_letter(f"The answer is {t}") for t in ("a dog", "a.", "(A) a dog", "A dog", "a because it barks")]
        [None, 'A', 'A', 'A', 'A']
    """
    text = regex.sub(r"\s*\n\s*", "\n", regex.sub(r"[^\S\n]+", " ", seen(text)))
    stated = [match["letter"] for match in _STATED.finditer(text) if not _is_word(match)]
    if stated:
        return str(stated[-1]).upper()
    leading = _LEADING.match(text)
    if leading:
        return str(leading["letter"]).upper()
    bracketed = [match["letter"] for match in _BRACKETED.finditer(text)]
    return bracketed[-1] if bracketed else None


def _is_word(match: regex.Match[str]) -> bool:
    """Whether a stated letter is the article or the pronoun: "the answer is a dog", "my answer: I think"."""
    letter, following = match["letter"], match["next"]
    if following is None or letter not in "AaIi":
        return False
    if letter in "Ii":
        return True
    if following.lower() in _AFTER_NO_ARTICLE:
        return False
    starts_a_phrase = bool(match["mark"] or match["opened"] or "\n" in match[0])
    return letter == "a" or starts_a_phrase


class ExactMatchLetter(ShareCorrect):
    """Compares the letter that the prediction answers with the reference's letter.

    The rules of finding it, tried in this order, whatever the case and with quotes, stars and brackets around it:

    1. The letter after "answer", "choice" or "option", also with "is", "'s", a colon or a dash between. The last one
       counts, because reasoning comes before the conclusion. A letter that a word follows may be no name:

       - "a" is then the article, so that "the answer is a dog" names no letter, unless the word cannot follow an
         article ("a because it barks");
       - "A" is the article where a phrase begins ("Answer: A dog"), and a name within one ("the answer is A dog");
       - "I" is the pronoun.

    2. A letter at the very start with a mark, a bracket, a dash or nothing after it: "B", "B.", "C) metal", "(c)
       metal". "A dog barks" names none.
    3. The last capital in brackets, or before a closing one.

    Letters within a word, a compound (x-ray), an abbreviation (U.S.) or before an equals sign are no names.
    """

    name = "exact-match-letter"
    direction = "up"
    range = (0.0, 1.0)
    accepts = ("text",)
    revision = 3

    def check_reference(self, reference: Any) -> None:
        """Raises DataError for a reference without a letter."""
        self._expected(reference)

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``correct``: 1 where the letters agree; a prediction with no letter is wrong."""
        return {"correct": float(answer_letter(str(prediction)) == self._expected(reference))}

    def _expected(self, reference: Any) -> str:
        expected = answer_letter(str(reference))
        if expected is None:
            raise DataError(f"the reference {shown(reference)} holds no answer letter to match")
        return expected
