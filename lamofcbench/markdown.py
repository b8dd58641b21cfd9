"""Tables in Markdown, for cards, reports and the pages of the documentation."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence

_OPEN_BAR = re.compile(r"(?<!\\)((?:\\\\)*)\|")


def markdown_table(head: Sequence[object], rows: Iterable[Sequence[object]], *, right: Container[int] = ()) -> str:
    r"""A table in Markdown, whatever its cells hold: a bar or a line break in one begins no new cell or row.

    Args:
        head: the names of the columns.
        rows: cells in the order of the columns. What is markup in them stays markup.
        right: the columns, counted from 0, that are set to the right, such as those of figures.

    Example:
        >>> print(markdown_table(("codec", "rate"), [("`a|b`", 1.5)], right=[1]))
        | codec | rate |
        | --- | ---: |
        | `a\|b` | 1.5 |
    """
    line = ["---:" if column in right else "---" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(map(_cell, cells))} |" for cells in (head, line, *rows))


def _cell(value: object) -> str:
    return _OPEN_BAR.sub(r"\1\\|", re.sub(r"[\r\n]+", " ", str(value)))
