"""Exact match of the answer letter of a multiple choice."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import regex

from harness.metrics._lists import Listed, list_identity, read_list
from harness.metrics._text import seen
from harness.metrics.base import ShareCorrect
from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.references import shown

RULES = ("stated", "first-capital", "templates")
CHOICE = "[CHOICE]"

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


def first_capital(text: str, letters: str) -> str | None:
    """The first of some capitals that a text holds anywhere; None where it holds none.

    Example:
        >>> first_capital(" [C], since", "ABCD"), first_capital("The cat", "ABCD"), first_capital("The cat", "ABT")
        ('C', None, 'T')
    """
    return next((character for character in text if character in letters), None)


def letter_by_templates(text: str, templates: Sequence[str], letters: str) -> str | None:
    """The letter by the first template that a text holds; None where it holds none and does not begin with a letter.

    Args:
        text: in which case does not matter. A ``<1>``, ``<2>`` or ``<3>`` at its beginning is left out.
        templates: each holds `CHOICE`, for which the letters are put in one after the other, lower case. They are tried
            in their order and as they are, so that one with capitals never fits.
        letters: capitals.

    Example:
        >>> letter_by_templates("The answer is b, or (c)", ["([CHOICE])", "answer is [CHOICE]"], "ABCD")
        'C'
    """
    text = regex.sub(r"^\s*<[123]>", "", text.lower()).strip()
    lower = letters.lower()
    for template in templates:
        for letter in lower:
            if template.replace(CHOICE, letter) in text:
                return letter.upper()
    for letter in lower:
        if text == letter or text[:2] in {letter + mark for mark in ".,:)"}:
            return letter.upper()
    if "would be a." in text or 'would be "a.' in text:
        return "A"
    return None


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

    Other rules, for comparison with published figures:

    Args:
        rule: ``stated`` for the rules above; ``first-capital`` for the first of ``letters`` anywhere in the text, even
            within a word, as the published language tasks extract it; ``templates`` for `letter_by_templates`, as
            VoiceBench extracts the letters of spoken answers.
        letters: the capitals that can be answers, for the last two rules.
        templates: their list or its file, see `read_list`; each holds ``[CHOICE]``. VoiceBench draws a letter where no
            template fits; here that is a wrong answer.
    """

    name = "exact-match-letter"
    direction = "up"
    range = (0.0, 1.0)
    accepts = ("text",)
    revision = 3
    file_options: ClassVar = {"templates": functools.partial(read_list, what="letter templates")}

    def __init__(
        self, rule: str | None = None, letters: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", templates: Listed | None = None
    ) -> None:
        if rule is None:
            rule = "stated" if templates is None else "templates"
        super().__init__(rule=rule, letters=letters, templates=templates)
        if rule not in RULES or (rule == "templates") != (templates is not None):
            raise ScenarioError(
                f"exact-match-letter: rule is {rule!r} {'with' if templates is not None else 'without'} templates; the "
                f"rules are {', '.join(RULES)}, of which the last, and only that one, has templates"
            )
        if not letters or not regex.fullmatch("[A-Z]+", letters):
            raise ScenarioError(f"exact-match-letter: letters are {letters!r}; give capitals from A to Z")
        self.rule, self.letters = rule, letters
        self.templates = () if templates is None else read_list(templates, "letter templates")
        for template in self.templates:
            if CHOICE not in template:
                raise ScenarioError(f"letter templates: {shown(template)} does not hold {CHOICE}")

    @property
    def rules(self) -> str:
        """The list of templates, where there is one."""
        return list_identity("templates", self.templates) if self.templates else ""

    def check_reference(self, reference: Any) -> None:
        """Raises DataError for a reference without a letter."""
        self._expected(reference)

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``correct``: 1 where the letters agree; a prediction with no letter is wrong."""
        return {"correct": float(self._answered(str(prediction)) == self._expected(reference))}

    def _answered(self, text: str) -> str | None:
        if self.rule == "first-capital":
            return first_capital(text, self.letters)
        if self.rule == "templates":
            return letter_by_templates(text, self.templates, self.letters)
        return answer_letter(text)

    def _expected(self, reference: Any) -> str:
        expected = answer_letter(str(reference))
        if expected is None:
            raise DataError(f"the reference {shown(reference)} holds no answer letter to match")
        return expected
