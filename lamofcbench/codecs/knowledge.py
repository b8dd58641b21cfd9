"""Classes of knowledge: what a codec has learned from, beside what everybody knows.

A codec that has seen features of a task codes them better than one that has not, and one that knows how the tail
responds approaches sending the answer. So results are ranked within their class as well as all together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Knowledge = Literal["nothing", "calibration", "tail", "other data"]
"""What a codec has learned from.

- ``nothing``: it learns nothing.
- ``calibration``: features of a scenario's calibration split.
- ``tail``: these features, and how the tail's response depends on them.
- ``other data``: other samples, those of several scenarios, or nobody here knows what.
"""

CLASSES: tuple[Knowledge, ...] = get_args(Knowledge)
"""The classes, in the order of what a codec may know."""


def most(classes: Iterable[Knowledge]) -> Knowledge:
    """The class of codecs that are taken as one.

    Example:
        >>> most(["calibration", "nothing"])
        'calibration'
    """
    return max(classes, key=CLASSES.index)
