"""A scenario that says how its keys were rotated says it right, or its model does not load."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lamofcbench.codecs.rotary import with_positions, without_positions
from lamofcbench.errors import ScenarioError
from lamofcbench.models.loading import load_model
from lamofcbench.models.rotary import require_declared_rotary
from lamofcbench.scenarios.base import SCENARIOS, Scenario

DECODERS = ["mini-clu-arithmetic", "mini-clu-facts"]


def with_base(scenario: Scenario, base: float) -> Scenario:
    tensors = [
        spec.model_copy(update={"rotary_base": base}) if spec.rotary_base is not None else spec
        for spec in scenario.tensors
    ]
    return scenario.model_copy(update={"tensors": tuple(tensors)})


@pytest.mark.parametrize("id", DECODERS)
def test_a_token_has_one_key_in_layer_0_wherever_it_stands(id):
    scenario = SCENARIOS.get(id)
    model = load_model(scenario)
    token = model.token_ids("7")[-1]
    keys = model.front(torch.full((20,), int(token)))["key.0"].numpy()
    assert np.abs(keys - keys[:, :1]).max() > 0.1
    base = scenario.specs["key.0"].rotary_base
    still = without_positions(keys, base)
    assert np.abs(still - still[:, :1]).max() < 1e-5 * np.abs(keys).max()
    assert np.abs(with_positions(still, base) - keys).max() < 1e-6 * np.abs(keys).max()
    other = without_positions(keys, 2 * base)
    assert np.abs(other - other[:, :1]).max() > 1e-2 * np.abs(keys).max()


@pytest.mark.parametrize("id", [*DECODERS, "mini-cau-choices"])
def test_a_model_with_another_base_does_not_load(id):
    scenario = with_base(SCENARIOS.get(id), 5e5)
    with pytest.raises(ScenarioError, match=r"'key\.0' has rotary_base 500000\.0.* rotated with base 10000\.0"):
        load_model(scenario)


class _Stub:
    def __init__(self, rotary: dict[str, object]) -> None:
        self.config = type("Config", (), {"rope_parameters": rotary})()


@pytest.mark.parametrize(
    "rotary",
    [
        {},
        {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0},
        {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
        {"full_attention": {"rope_type": "default", "rope_theta": 1e4}},
    ],
    ids=["none", "scaled", "partial", "by-layer"],
)
def test_keys_that_are_rotated_in_another_way_have_no_base(rotary):
    with pytest.raises(ScenarioError, match=r"rotated in another way .*; leave it out"):
        require_declared_rotary(_Stub(rotary), SCENARIOS.get("mini-clu-facts"))


def test_a_scenario_that_states_no_base_is_content_with_any_model():
    require_declared_rotary(_Stub({}), SCENARIOS.get("mini-clu-facts-mamba"))


def test_every_decoder_of_the_registry_says_how_its_keys_are_rotated():
    bases = {
        (scenario.edition, scenario.backbone.adapter, spec.rotary_base)
        for scenario in SCENARIOS
        for spec in scenario.tensors
        if spec.role == "key"
    }
    assert bases == {
        ("full", "qwen3-decoder", 1e6),
        ("full", "kimi-audio", 1e6),
        ("mini", "qwen3-decoder", 1e4),
        ("mini", "kimi-audio", 1e4),
        ("small", "qwen3-decoder", 1e5),
        ("small", "decoder-continuation", 1e5),
    }
