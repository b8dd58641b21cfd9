"""The adapters on the mini editions' trained weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest_models import fill_with_nan

from lamofcbench.builders import BUILDERS
from lamofcbench.features import check_features
from lamofcbench.models import load_model
from lamofcbench.models.language_model import SplitLanguageModel
from lamofcbench.scenarios.base import SCENARIOS, Scenario

SAMPLES = 12
SAME_SHARE = 0.999
MINI = [
    scenario for scenario in SCENARIOS if scenario.edition == "mini" and scenario.backbone.source.startswith("builder:")
]


@pytest.fixture(scope="module", params=MINI, ids=lambda scenario: scenario.id)
def mini(request: Any) -> tuple[Scenario, Any, list[Any]]:
    scenario: Scenario = request.param
    samples = BUILDERS.get(scenario.backbone.source.removeprefix("builder:"))().samples("test")[:SAMPLES]
    return scenario, load_model(scenario), [sample.inputs for sample in samples]


def agree(prediction: Any, other: Any) -> bool:
    """Whether two predictions are the same; of arrays, nearly all elements up to the order of sums in a batch."""
    if not isinstance(other, np.ndarray):
        return bool(prediction == other)
    if prediction.shape != other.shape:
        return False
    return float(np.isclose(prediction, other, rtol=1e-3, atol=1e-3).mean()) >= SAME_SHARE


def test_features_match_the_scenario(mini: tuple[Scenario, Any, list[Any]]) -> None:
    scenario, model, inputs = mini
    check_features(model.front(inputs[0]).cast(scenario.specs), scenario.specs)


def test_uncast_features_give_the_full_models_predictions(mini: tuple[Scenario, Any, list[Any]]) -> None:
    _, model, inputs = mini
    expected = [model.full(one) for one in inputs]
    found = model.tail([model.front(one) for one in inputs])
    assert all(map(agree, found, expected))
    assert not all(agree(one, expected[0]) for one in expected)


def test_the_tail_needs_no_weight_of_the_front(mini: tuple[Scenario, Any, list[Any]]) -> None:
    scenario, _, inputs = mini
    model = load_model(scenario)  # one to spoil
    features = [model.front(one).cast(scenario.specs) for one in inputs]

    def first_outputs() -> Any:
        if isinstance(model, SplitLanguageModel):  # later tokens run through the front, as they must
            return model.generate_tokens(features, max_new_tokens=1), model.prefill_logits(features)
        return model.tail(features), torch.zeros(0)

    predictions, logits = first_outputs()
    fill_with_nan(model.front_modules())
    after, logits_after = first_outputs()
    assert all(map(np.array_equal, after, predictions))
    assert torch.equal(logits, logits_after)
