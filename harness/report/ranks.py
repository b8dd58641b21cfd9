"""Places of codecs: among all, and among those that have learned from the same kind of data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lamofcbench.codecs.knowledge import Knowledge

Ranks = tuple[int | None, int | None]
"""Among all codecs, and in the class; None for a codec without a figure, or whose class is not known."""


def ranks(classes: Sequence[Knowledge | None], ranked: Sequence[bool]) -> list[Ranks]:
    """The ranks of codecs that stand in their order, the best first.

    Args:
        classes: what each has learned from; None where that is not known.
        ranked: False for those that have no figure, and for anchor and floor.

    Example:
        >>> ranks(["tail", "calibration", "tail", "nothing"], [True, True, True, False])
        [(1, 1), (2, 1), (3, 2), (None, None)]
    """
    found: list[Ranks] = []
    counts: Counter[Knowledge | None] = Counter()
    for knowledge, counted in zip(classes, ranked, strict=True):
        counts[knowledge] += counted
        place = counts.total() if counted else None
        found.append((place, counts[knowledge] if counted and knowledge is not None else None))
    return found
