"""What a codec was fitted on, in one name: the ids of scenarios, joined by a sign that none of them holds."""

from __future__ import annotations

from collections.abc import Iterable

SIGN = "+"


def joined(names: Iterable[str]) -> str:
    """Names as one.

    Example:
        >>> joined(["mini-clu-facts", "mini-clu-scripts"])
        'mini-clu-facts+mini-clu-scripts'
    """
    return SIGN.join(names)


def parted(name: str) -> list[str]:
    """The names that were joined.

    Example:
        >>> parted("mini-clu-facts+mini-clu-scripts")
        ['mini-clu-facts', 'mini-clu-scripts']
    """
    return name.split(SIGN)


def is_mixture(name: str) -> bool:
    """Whether a name is of several.

    Example:
        >>> is_mixture("mini-clu-facts"), is_mixture("mini-clu-facts+mini-clu-scripts")
        (False, True)
    """
    return SIGN in name
