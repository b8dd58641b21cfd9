"""Which code decides a scenario's features and predictions."""

from __future__ import annotations

from lamofcbench.builders import BUILDERS, ScenarioBuilder
from lamofcbench.identity import JOINED, identity_of, joined
from lamofcbench.models.base import MODELS
from lamofcbench.models.pinning import pins_of
from lamofcbench.scenarios.base import Scenario


def adapter_identity(scenario: Scenario) -> str:
    """The identity of a scenario's split model, of its head where that is a plugin of its own, and of weights.

    Weights that the declaration pins are part of the scenario's digest, those of a builder of the data's revision; here
    stand those that the user's pins tie to a commit.

    Raises:
        UnknownNameError: if there is no such split model.
        DataError: if the pins are needed and cannot be read.
    """
    adapter = MODELS.get(scenario.backbone.adapter, relative_to=scenario.origin)
    pins = [f"weights:{repo}@{commit}" for repo, commit in pins_of(scenario).items()]
    return JOINED.join([joined([adapter, *adapter.parts(scenario)]), *pins])


def features_identity(scenario: Scenario, builder: ScenarioBuilder | None = None) -> str:
    """The identity of what makes a scenario's features: its builder, and the split model whose front it runs.

    Args:
        scenario: of the features.
        builder: what builds them; None for the scenario's own.

    Returns:
        Both, joined; the empty string for a scenario whose features nobody here builds.
    """
    if builder is None:
        if scenario.builder is None:
            return ""
        builder = BUILDERS.get(scenario.builder, relative_to=scenario.origin)()
    return JOINED.join([identity_of(builder), adapter_identity(scenario)])
