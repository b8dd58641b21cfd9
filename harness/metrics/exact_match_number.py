"""Exact match of the last number in a text, as GSM8K answers are judged (Cobbe et al., arXiv 2110.14168)."""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Mapping
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import regex

from harness.metrics._text import without_unseen
from harness.metrics.base import ShareCorrect
from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.references import shown

RULES = ("value", "flexible")

MAX_EXPONENT = 999_999_999
"""Larger exponents are read as this one. Decimal compares such numbers without writing them out."""
MAX_HEXADECIMAL = 2**14
"""Digits of a hexadecimal number that is read; a longer one equals no number, because to convert it takes quadratic
time."""

_AS_TYPED = str.maketrans(
    {
        # Fullwidth forms, but for comma and stop, which part clauses in CJK texts.
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if code not in (0xFF0C, 0xFF0E)},
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63", "-"),  # hyphens, dashes as long as a digit, minus
        **dict.fromkeys("\u00a0\u2007\u2009", "\u202f"),  # spaces that keep the digits of a number together
        "\N{ARABIC DECIMAL SEPARATOR}": ".",
        "\N{ARABIC THOUSANDS SEPARATOR}": ",",
    }
)
_FULLWIDTH_COMMA = regex.compile(r"(?<=[\uff10-\uff19])\uff0c(?=[\uff10-\uff19])")
_FULLWIDTH_STOP = regex.compile(r"(?<=[\uff10-\uff19])\uff0e(?=[\uff10-\uff19])")
_SPACE_BEFORE_THOUSAND = regex.compile(r"(?<=[0-9])\u202f(?=[0-9]{3}(?![0-9]))")

_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"
_FROM_SUPERSCRIPT = str.maketrans(_SUPERSCRIPTS, "0123456789+-")

# A minus that touches the number or its currency symbol, and nothing that it would join or subtract from; or one after
# an operator, from which a space may part it.
_MINUS = r"""
    (?<! [\p{L}\p{M}\p{N}\p{Pe}%‰°\-—] | [0-9]\p{Sc} ) - (?:\p{Sc}\ ?)?
  | (?<= [=≈<>≤≥÷\u00d7(\[{]\ ? ) -\ (?:\p{Sc}\ ?)?
"""
# Repetitions are possessive or bounded: a text of any length is read in linear time.
_WHOLE = r"""
    [0-9]{1,3} (?: ,[0-9]{3}(?![0-9]) )++
  | [0-9]{1,2} (?: ,[0-9]{2}(?![0-9]) ){1,7}+ ,[0-9]{3}(?![0-9])
  | [0-9]++
"""
_EXPONENT = rf"""
    [eE] (?P<exponent>[-+]?[0-9]++)
  | \ ?(?:[\u00d7xX*·⋅]|\\times|\\cdot)\ ?10
    (?:
        (?:\^|\*\*) (?: [{{(](?P<exponent>[-+]?[0-9]++)[)}}] | (?P<exponent>[-+]?[0-9]++) ) (?!\.?[0-9])
      | (?P<exponent>[{_SUPERSCRIPTS}]++)
    )
"""
# As lm-eval's task gsm8k has it.
_FLEXIBLE = regex.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_FRACTION = r"(?P<fraction>[¼-¾⅐-⅞])"
_NUMBER = regex.compile(
    rf"""(?V1x)
    (?P<minus> {_MINUS} )?
    (?:
        (?<![\p{{L}}\p{{N}}]) 0[xX] (?P<hexadecimal>[0-9a-fA-F]++) (?![\p{{L}}\p{{N}}])
      | (?:
            (?P<whole> {_WHOLE} ) (?: (?<! [0-9]\.[0-9]*+ ) \.(?P<decimals>[0-9]++) (?!\.[0-9]) )?+
          | (?<! [\p{{L}}\p{{N}}.] ) \.(?P<decimals>[0-9]++)
        )
        (?: {_EXPONENT} | \ ?{_FRACTION} )?+
      | {_FRACTION}
    )
    """
)


def last_number(text: str) -> Decimal | None:
    """The last number of a text; None where there is none. `ExactMatchNumber` states the rules.

    Example:
        >>> last_number("She pays 3 * 400 = $1,200.50."), last_number("so it is -7."), last_number("none")
        (Decimal('1200.50'), Decimal('-7'), None)
        >>> [str(last_number(text)) for text in ("12-5", "Answer - 42", "x = 5 - 3", "either 3,4", "1.5e3", "٣٫٥")]
        ['5', '42', '3', '4', '1.5E+3', '3.5']
    """
    matches = deque(_NUMBER.finditer(_as_typed(text)), maxlen=1)
    if not matches:
        return None
    value = _value(matches[0])
    return value.copy_negate() if matches[0]["minus"] else value  # unary minus would round


def flexible_number(text: str) -> str | None:
    """The last match of lm-eval's flexible extraction, as text; None where there is none.

    Example:
        >>> [flexible_number(text) for text in ("is $1,200.50.", "3 apples or -7", "none", "5 ...")]
        ['$1,200.50.', '-7', None, '...']
    """
    matches = deque(_FLEXIBLE.finditer(text), maxlen=1)
    return matches[0][0].strip() if matches else None


def without_ignored(text: str) -> str:
    r"""A text as lm-eval compares it: without commas, dollars, all up to the last ``#### `` and a closing full stop.

    Example:
        >>> without_ignored("48/2 = 24, so\n#### 1,224."), without_ignored("$18.0")
        ('1224', '18.0')
    """
    text = text.replace(",", "").replace("$", "")
    return regex.sub(r"\.$", "", text.rpartition("#### ")[2]).lower()


def _as_typed(text: str) -> str:
    """A text with the digits, separators and signs of a typewriter."""
    if text.isascii():
        return text
    text = without_unseen(text)
    text = _FULLWIDTH_STOP.sub(".", _FULLWIDTH_COMMA.sub(",", text)).translate(_AS_TYPED)
    text = "".join(one if one.isascii() else str(unicodedata.decimal(one, one)) for one in text)
    return _SPACE_BEFORE_THOUSAND.sub(",", text).replace("\u202f", " ")


def _value(match: regex.Match[str]) -> Decimal:
    if match["hexadecimal"]:
        digits = match["hexadecimal"].lstrip("0") or "0"
        return Decimal(int(digits, 16)) if len(digits) <= MAX_HEXADECIMAL else Decimal("NaN")
    whole = (match["whole"] or "0").replace(",", "")
    if match["fraction"]:
        parts = Fraction(unicodedata.numeric(match["fraction"])).limit_denominator(10)
        part = Context(prec=28).divide(Decimal(parts.numerator), Decimal(parts.denominator))
        return Context(prec=len(whole) + 28).add(Decimal(whole), part)
    exponent = (match["exponent"] or "0").translate(_FROM_SUPERSCRIPT)
    digits = exponent.lstrip("+-").lstrip("0") or "0"
    size = int(digits) if len(digits) <= len(str(MAX_EXPONENT)) else MAX_EXPONENT
    return Decimal(f"{whole}.{match['decimals'] or ''}e{'-' if exponent.startswith('-') else ''}{size}")


class ExactMatchNumber(ShareCorrect):
    """Compares the last number of the prediction with the last number of the reference, by value.

    The rules of reading a number:

    - Digits are the decimal digits of any script, fullwidth ones included. The fractions that are one character (½)
      count as their value, also after a whole number; superscripts, circled digits, Roman and Han numerals do not.
    - A decimal point stands before a digit, so that a full stop ends the sentence. Between more than two groups of
      digits (1.2.3) points part numbers, as hyphens, slashes and colons always do: a date ends in its last part.
    - A comma, ``٬``, a no-break or a thin space between groups of three digits (1,200) or of two before three
      (1,23,456) is part of the number. Other commas part numbers: ``3,4`` ends in 4, ``1,5e3`` in 5000.
    - A minus is a sign where it touches the number or its currency symbol, and no letter, digit, closing bracket or
      other dash touches it from the left: ``-7``, ``(-7)``, ``-$7`` and ``$-7``, but not in ``5-3``, ``x - 3`` and
      ``Answer - 3``. Only after an operator or an opening bracket may a space follow it (``= - 3``). Hyphens and the
      en dash count as minus, the em dash does not. Amounts in brackets are positive.
    - ``e`` and a power of ten are read: ``1.5e3``, ``1.5 x 10^3`` and ``1.5·10³`` are 1500. ``0x1F`` is 31; one of more
      than `MAX_HEXADECIMAL` digits equals no number.
    - Percent and units are left out: ``50%`` is 50. Digits within words count: ``A4`` is 4. Nothing is evaluated:
      ``3/4`` ends in 4.

    Args:
        rule: ``value`` for the rules above; ``flexible`` for those of lm-eval, by which the published figures of GSM8K
            were made: the last run of two or more digits, dollars, points and commas, or of digits, compared as text
            with the whole reference by `without_ignored`. So 18.0 is not 18 there.
    """

    name = "exact-match-number"
    direction = "up"
    range = (0.0, 1.0)
    accepts = ("text",)
    revision = 2

    def __init__(self, rule: str = "value") -> None:
        super().__init__(rule=rule)
        if rule not in RULES:
            raise ScenarioError(f"exact-match-number: rule is {rule!r}; the rules are {' and '.join(RULES)}")
        self.rule = rule

    def check_reference(self, reference: Any) -> None:
        """Raises DataError for a reference without a number."""
        self._expected(reference)

    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """``correct``: 1 where the numbers are equal; a prediction with no number is wrong."""
        expected = self._expected(reference)
        if self.rule == "value":
            return {"correct": float(last_number(str(prediction)) == expected)}
        answered = flexible_number(str(prediction))
        return {"correct": float(answered is not None and without_ignored(answered) == without_ignored(str(reference)))}

    def _expected(self, reference: Any) -> Decimal:
        expected = last_number(str(reference))
        if expected is None or expected.is_nan():
            raise DataError(f"the reference {shown(reference)} holds no number to match")
        return expected
