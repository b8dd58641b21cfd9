"""JSON of strangers: so many values and no more, before it is held against a schema.

What breaks a schema in a million places has a million errors, each a thousand times as large as the place.
"""

from __future__ import annotations

from typing import Any

MAX_VALUES = 100_000
"""In one file; a submission of all scenarios has some thousand."""


def require_few_values(content: Any, most: int = MAX_VALUES) -> None:
    """Refuses JSON of more values than that, those that hold others included.

    Raises:
        ValueError: if there are more.

    Example:
        >>> require_few_values({"a": [1, 2]}, 4)
        >>> require_few_values({"a": [1, 2]}, 3)
        Traceback (most recent call last):
        ValueError: it holds more than 3 values
    """
    left, stack = most, [content]
    while stack:
        left -= 1
        if left < 0 or len(stack) > most:
            raise ValueError(f"it holds more than {most} values")
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
