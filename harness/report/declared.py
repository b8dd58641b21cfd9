"""The declaration of a scenario that results are of, where it is known here."""

from __future__ import annotations

from collections.abc import Mapping

from lamofcbench.errors import LaMoFCBenchError
from lamofcbench.scenarios.base import SCENARIOS, Scenario


def declaration(name: str, declared: Mapping[str, Scenario]) -> Scenario | None:
    """The scenario that results are of: the user's own, the registered one, or None."""
    if name in declared:
        return declared[name]
    try:
        return SCENARIOS.get(name)
    except LaMoFCBenchError:
        return None
