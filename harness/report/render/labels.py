"""Where the names of marks go: beside each, where nothing else is; a name that fits nowhere is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LETTER_WIDTH, LINE_HEIGHT = 6.0, 11.0
"""Of the figures' small letters, in units of the drawing; wide enough for most."""
GAP = 7.0
MARK = 5.0


@dataclass(frozen=True)
class Label:
    """A name's place: the left end of its base line."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def placed(marks: Sequence[tuple[float, float, str]], width: float, height: float) -> list[Label]:
    """A place for each name that fits, in the order of the marks: the first ones choose first.

    Args:
        marks: x, y (downwards) and name of each.
        width: of the drawing; no name leaves it.
        height: of the drawing.

    Example:
        >>> [label.text for label in placed([(50, 50, "a"), (52, 50, "b")], 100, 100)]
        ['a', 'b']
    """
    taken = [_Box(x - MARK, y - MARK, x + MARK, y + MARK) for x, y, _ in marks]
    labels = []
    for number, (x, y, name) in enumerate(marks):
        long = LETTER_WIDTH * len(name)
        for left, base in (
            (x + GAP, y + 4),
            (x - GAP - long, y + 4),
            (x - long / 2, y - GAP),
            (x - long / 2, y + GAP + LINE_HEIGHT - 2),
            (x + GAP, y - GAP),
            (x + GAP, y + GAP + LINE_HEIGHT - 2),
            (x - GAP - long, y - GAP),
            (x - GAP - long, y + GAP + LINE_HEIGHT - 2),
        ):
            box = _Box(left, base - LINE_HEIGHT + 2, left + long, base + 2)
            inside = box.left >= 0 and box.right <= width and box.top >= 0 and box.bottom <= height
            others = (other for at, other in enumerate(taken) if at != number)
            if inside and not any(box.meets(other) for other in others):
                taken.append(box)
                labels.append(Label(left, base, name))
                break
    return labels
