"""Whether a scenario's tail shows what its predictions are made from."""

from __future__ import annotations

from lamofcbench.models.base import MODELS
from lamofcbench.scenarios.base import Scenario


def has_response(scenario: Scenario) -> bool:
    """Whether the split model of a scenario shows responses, as far as its class says."""
    return MODELS.get(scenario.backbone.adapter, relative_to=scenario.origin).shows_responses(scenario)
