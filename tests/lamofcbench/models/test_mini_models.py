"""The adapters on the mini editions' trained weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest_models import fill_with_nan

from lamofcbench.builders import BUILDERS
from lamofcbench.features import check_features
from lamofcbench.models import load_model
from lamofcbench.models.decoder import DecoderSplitModel
from lamofcbench.scenarios.base import SCENARIOS, Scenario

SAMPLES = 12
MINI = [
    scenario for scenario in SCENARIOS if scenario.edition == "mini" and scenario.backbone.source.startswith("builder:")
]


@pytest.fixture(scope="module", params=MINI, ids=lambda scenario: scenario.id)
def mini(request: Any) -> tuple[Scenario, Any, list[Any]]:
    scenario: Scenario = request.param
    samples = BUILDERS.get(scenario.backbone.source.removeprefix("builder:"))().samples("test")[:SAMPLES]
    return scenario, load_model(scenario), [sample.inputs for sample in samples]


def test_features_match_the_scenario(mini: tuple[Scenario, Any, list[Any]]) -> None:
    scenario, model, inputs = mini
    check_features(model.front(inputs[0]).cast(scenario.specs), scenario.specs)


def test_uncast_features_give_the_full_models_predictions(mini: tuple[Scenario, Any, list[Any]]) -> None:
    _, model, inputs = mini
    expected = [model.full(one) for one in inputs]
    assert model.tail([model.front(one) for one in inputs]) == expected
    assert len(set(expected)) > 1


def test_the_tail_needs_no_weight_of_the_front(mini: tuple[Scenario, Any, list[Any]]) -> None:
    scenario, _, inputs = mini
    model = load_model(scenario)  # one to spoil
    features = [model.front(one).cast(scenario.specs) for one in inputs]

    def first_outputs() -> Any:
        if isinstance(model, DecoderSplitModel):  # later tokens run through the front, as they must
            return model.generate_tokens(features, max_new_tokens=1), model.prefill_logits(features)
        return model.tail(features), torch.zeros(0)

    predictions, logits = first_outputs()
    fill_with_nan(model.front_modules())
    after, logits_after = first_outputs()
    assert after == predictions
    assert torch.equal(logits, logits_after)
