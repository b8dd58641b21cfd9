"""What this version itself declares: the tracks of an edition, and the own ladder of a codec that comes with it."""

from __future__ import annotations

from typing import Any

from harness.running.ladder import own_points
from lamofcbench.codecs.registry import CODECS
from lamofcbench.identity import is_shipped
from lamofcbench.scenarios.base import SCENARIOS


def tracks(edition: str) -> list[str]:
    """The ids of an edition's scenarios but for variants."""
    return [one.id for one in SCENARIOS if one.edition == edition and one.variant_of is None]


def own_ladder(codec: str, identity: str) -> dict[str, dict[str, Any]] | None:
    """The rate points of a codec's own ladder, by all parameters as text; None for a codec of somebody else's.

    Args:
        codec: its name.
        identity: of its code.
    """
    if not is_shipped(identity) or codec not in CODECS.names():
        return None
    return own_points(CODECS.get(codec))
