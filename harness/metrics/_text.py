"""What metrics of texts share: the same text in one spelling, and its words."""

from __future__ import annotations

import unicodedata

import regex

# Before NFKC, which turns an acute accent between two letters into a space and a combining mark.
_QUOTES = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u02bc\u02bb\u00b4`\u2032", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'),
        "\u0149": "'n",
    }
)
_ZERO_WIDTH_SPACE = "\u200b"  # separates words, unlike all else that is not seen
_UNSEEN = regex.compile(r"\p{Default_Ignorable_Code_Point}+")

MAX_MARKS = 30
"""Combining marks in a row that are judged, as many as Unicode's Stream-Safe Text Format has (UAX #15): what puts them
into their order takes quadratic time."""
# With the halfwidth voiced sound marks, which are no marks yet and become some.
_MARKS = regex.compile(rf"([\p{{M}}\uff9e\uff9f]{{{MAX_MARKS}}})[\p{{M}}\uff9e\uff9f]++")

# Han and Hiragana stand for themselves, as in Unicode's default word boundaries (UAX #29): they write no spaces.
_ALONE = r"\p{Han}\p{Hiragana}"
_START = rf"[[\p{{L}}\p{{N}}]--[{_ALONE}]]"
_REST = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{_ALONE}]]*+"
_WORD = regex.compile(
    rf"""(?V1x)
    [{_ALONE}] [\p{{M}}\N{{KATAKANA-HIRAGANA PROLONGED SOUND MARK}}]*+
    |
    {_START}{_REST}
    (?:
        (?: ['\N{{MIDDLE DOT}}\N{{HEBREW PUNCTUATION GERESH}}\N{{HEBREW PUNCTUATION GERSHAYIM}}] (?={_START})
          | (?<=\p{{Nd}}) [.\N{{ARABIC DECIMAL SEPARATOR}}] (?=\p{{Nd}})
          | (?<=\p{{Nd}}) [,\N{{ARABIC THOUSANDS SEPARATOR}}] (?=\p{{Nd}}{{3}}(?!\p{{Nd}}))
        )
        {_REST}
    )*+
    """
)


def without_unseen(text: str) -> str:
    """A text without joiners, soft hyphens, variation selectors and marks of direction."""
    return _UNSEEN.sub("", text.replace(_ZERO_WIDTH_SPACE, " "))


def with_few_marks(text: str) -> str:
    """A text without the combining marks that follow on `MAX_MARKS` of them."""
    return text if text.isascii() else _MARKS.sub(r"\1", text)


def seen(text: str) -> str:
    r"""A text in Unicode's compatibility form (NFKC), with typewriter quotes and without what is not seen.

    What is not seen neither parts words nor makes two of them differ, nor do combining marks beyond `MAX_MARKS`.

    Example:
        >>> seen("\u201cＡ\u201d: it\u2019s co\u00adop")
        '"A": it\'s coop'
    """
    return unicodedata.normalize("NFKC", with_few_marks(without_unseen(text).translate(_QUOTES)))


def folded(text: str) -> str:
    """The same, for comparison without case.

    Unicode's full case folding; the dot that folding leaves of the Turkish capital dotted I goes, too.

    Example:
        >>> [folded(text) for text in ("STRASSE", "Straße", "İstanbul", "ΟΔΟΣ")]
        ['strasse', 'strasse', 'istanbul', 'οδοσ']
    """
    return unicodedata.normalize("NFKC", seen(text).casefold().replace("i\N{COMBINING DOT ABOVE}", "i"))


def normalised_words(text: str) -> list[str]:
    """The words of a text, without case and punctuation, by these rules.

    - Texts are compared as `folded` gives them: NFKC, case folding, no characters that are not seen.
    - A word is a run of letters, digits and combining marks that starts with a letter or a digit. All else separates
      words, hyphens and underscores included.
    - Inside a word an apostrophe of any kind stays, and so do the middle dot of Catalan, geresh and gershayim; between
      digits a decimal point, and a comma before a group of three.
    - Han characters and Hiragana are a word each, because they write no spaces. Scripts such as Thai would need a
      dictionary: there, what stands between spaces counts as a word.
    - Digits keep their script, and no language is assumed: a dotless i is a letter of its own.

    Example:
        >>> normalised_words("Don't STOP, now -- 'please'! 3.5 of 1,200")
        ["don't", 'stop', 'now', 'please', '3.5', 'of', '1,200']
        >>> [len(normalised_words(text)) for text in ("हिन्दी भाषा", "snake_case", "東京へ", "3,4")]
        [2, 2, 3, 2]
    """
    return [match[0] for match in _WORD.finditer(folded(text))]
