"""Places of codecs: among all, and among those that have learned from the same kind of data."""

from __future__ import annotations

from collections.abc import Sequence

from harness.statistics.curves import UNCODED_EBPFP
from lamofcbench.codecs.knowledge import Knowledge

Ranks = tuple[int | None, int | None]
"""Among all codecs, and in the class; None for a codec without a figure, or whose class is not known."""


def ranks(classes: Sequence[Knowledge | None], figures: Sequence[float | None]) -> list[Ranks]:
    """The ranks of codecs that stand in their order, the best first; equal figures share a place.

    Args:
        classes: what each has learned from; None where that is not known.
        figures: by which they are ranked, not rounded; None for those that have none, and for anchor and floor.

    Example:
        >>> ranks(["tail", "tail", "calibration", "tail", "nothing"], [0.5, 2.0, 2.0, 3.0, None])
        [(1, 1), (2, 2), (2, 1), (4, 3), (None, None)]
    """
    known = [(knowledge, figure) for knowledge, figure in zip(classes, figures, strict=True) if figure is not None]
    among = [figure for _, figure in known]
    of_class = {own: [figure for knowledge, figure in known if knowledge == own] for own in set(classes)}
    return [
        (
            None if figure is None else among.index(figure) + 1,
            None if figure is None or knowledge is None else of_class[knowledge].index(figure) + 1,
        )
        for knowledge, figure in zip(classes, figures, strict=True)
    ]


def is_first(rank: int | None, ebpfp: float | None) -> bool:
    """Whether a codec is the best, or one of several; none is where even the best takes what uncoded features do.

    Args:
        rank: its place among all.
        ebpfp: by which it has that place; None for no figure.

    Example:
        >>> is_first(1, 2.5), is_first(2, 2.5), is_first(1, 32.0)
        (True, False, False)
    """
    return rank == 1 and ebpfp is not None and ebpfp < UNCODED_EBPFP
