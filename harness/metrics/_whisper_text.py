"""Whisper's normalisation of English, as the published word error rates apply it to transcripts.

The normaliser's code comes from transformers, its table of British and American spellings (1739 entries) does not: it
stands beside the tokenizers of openai/whisper-* as ``normalizer.json``, and in the packages below as ``english.json``.
"""

from __future__ import annotations

import importlib.util
import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import regex

from harness.metrics._text import with_few_marks
from lamofcbench.errors import DataError, PluginError

PACKAGED = {
    "whisper_normalizer": "normalizers/english.json",
    "whisper": "normalizers/english.json",
}
"""Packages that hold the table, and where."""

MAX_BYTES = 2**22
_MARKS = regex.compile(r"<\|.*?\|>")
_UNCLOSED = str.maketrans("<[", "{{")
_SPACE_BEFORE_MARK = regex.compile(r"\s+(?=[.,!?;:])")
_BRACKETED = regex.compile(r"[<\[][^>\]]*[>\]]")
_HAN = regex.compile(r"(\p{Han})")


class WhisperWords:
    """The words of a transcript.

    In this order: marks such as ``<|en|>`` out; spaces single, and none before a punctuation mark; Whisper's English
    normaliser, then its basic one; Han characters apart; lower case; what is punctuation alone out.

    Args:
        spellings: the table of spellings, or its file; None for that of an installed package.

    Raises:
        PluginError: if no installed package has the table.
        DataError: if the file holds none.
    """

    def __init__(self, spellings: str | Mapping[str, str] | None = None) -> None:
        from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

        table = spellings if isinstance(spellings, Mapping) else read_spellings(spellings)
        self._normalisers = EnglishTextNormalizer(dict(table)), BasicTextNormalizer()

    def __call__(self, text: str) -> list[str]:
        """The words, in their order."""
        text = " ".join(_without_marks(with_few_marks(text)).split())
        text = _closed(_SPACE_BEFORE_MARK.sub("", text))
        for normaliser in self._normalisers:
            text = normaliser(text)
        words = _HAN.sub(r" \1 ", text).lower().split()
        return [word for word in words if not all(unicodedata.category(letter)[0] == "P" for letter in word)]


def _without_marks(text: str) -> str:
    """Marks such as ``<|en|>`` out; where none ends any more, none is looked for, which would take quadratic time."""
    ends = (line.rpartition("|>") for line in text.split("\n"))
    return "\n".join(_MARKS.sub(" ", head + end) + tail for head, end, tail in ends)


def _closed(text: str) -> str:
    """The text with another sign, out of which the normaliser makes a space too, for brackets that never close.

    It would look for the end of each, which takes quadratic time. What stands in square and angle brackets is left out
    as it does first, because that may hold the end of a round one.
    """
    end = max(text.rfind(">"), text.rfind("]")) + 1
    text = _BRACKETED.sub("", text[:end]) + text[end:].translate(_UNCLOSED)
    end = text.rfind(")") + 1
    return text[:end] + text[end:].replace("(", "{")


def read_spellings(file: str | None = None) -> dict[str, str]:
    """The table of spellings, from a file or an installed package.

    Raises:
        PluginError: if no installed package has it.
        DataError: if the file holds none.
    """
    path = Path(file) if file is not None else _packaged()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES} bytes, which is no table of spellings")
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read spellings from {path}: {type(error).__name__}: {error}") from error
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()) or not table:
        raise DataError(f"{path} holds no table of spellings, which is an object of texts")
    return table


def _packaged() -> Path:
    for package, place in PACKAGED.items():
        found = importlib.util.find_spec(package)  # found, not imported
        for folder in (found.submodule_search_locations or []) if found is not None else []:
            if (Path(folder) / place).is_file():
                return Path(folder) / place
    raise PluginError(
        "Whisper's normaliser needs its table of spellings: pip install 'lamofcbench[speech]', or name the "
        "normalizer.json beside any openai/whisper-* tokenizer with --metric-option spellings=FILE"
    )
