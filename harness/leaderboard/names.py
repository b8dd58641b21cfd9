"""Names on a board, which strangers choose: legible, on one line, and told apart."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from harness.leaderboard.board import LEVELS, Row
from harness.report.text import MAX_NAME, shown

MOST_MARKS = 2
"""On a letter; a pile of them would cover the rows about it."""


def legible(text: str, most: int = MAX_NAME) -> str:
    """A text on one line that stays within it: at most two marks stand on a letter."""
    letters: list[str] = []
    marks = 0
    for letter in shown(text, most):
        marks = marks + 1 if unicodedata.category(letter).startswith("M") else 0
        letters += [letter] if marks <= MOST_MARKS else []
    return "".join(letters)


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """Rows under names of their own: where several are called the same, the submission or a number stands behind.

    Nobody's name changes for one that is less checked: results folders choose first, then the better checked, and last
    what is not replayed.
    """

    def turn(row: Row) -> int:
        level = row.level if row.ranks_on() else LEVELS[-1]
        return LEVELS.index(level) if row.submission else -1

    called = Counter((_looks(row.codec), turn(row)) for row in rows)
    taken: set[str] = set()
    told = []
    for row in sorted(rows, key=turn):
        before = sum(called[_looks(row.codec), other] for other in range(-1, turn(row) + 1)) - 1
        base = f"{row.codec} ({row.submission})" if before and row.submission else row.codec
        label, number = base, 1
        while _looks(label) in taken:
            number += 1
            label = f"{base} {number}"
        taken.add(_looks(label))
        told.append(row.model_copy(update={"codec": label}))
    return told


def _looks(name: str) -> str:
    """The same for names that can hardly be told apart: by width, by how marks are written, or by spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).split())
