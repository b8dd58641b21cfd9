"""Every scenario of the mini edition shows what its predictions are made from, differentiable in all its features."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from conftest_models import fill_with_nan
from torch import Tensor

from lamofcbench.builders import BUILDERS
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.models.language_model import SplitLanguageModel
from lamofcbench.models.loading import load_model
from lamofcbench.scenarios.base import SCENARIOS, Scenario

SAMPLES = 2
MINI = [scenario for scenario in SCENARIOS if scenario.edition == "mini"]


@functools.lru_cache(maxsize=1)
def opened(scenario_id: str) -> tuple[Scenario, SplitModel, list[FeatureSet]]:
    """A scenario, its model, and features beside what responses are conditioned on; tests of one follow each other."""
    scenario = SCENARIOS.get(scenario_id)
    assert scenario.builder is not None
    builder = BUILDERS.get(scenario.builder)()
    model = load_model(scenario, builder=builder)
    inputs = [sample.inputs for sample in builder.samples("test")[:SAMPLES]]
    with torch.no_grad():
        return scenario, model, model.conditioned([model.front(one).cast(scenario.specs) for one in inputs])


@pytest.fixture(params=[scenario.id for scenario in MINI])
def shown(request: Any) -> tuple[Scenario, Any, list[FeatureSet]]:
    return opened(request.param)


def predicted(scenario: Scenario, model: Any, features: FeatureSet, response: Tensor) -> Any:
    """The prediction that a response ``[N, K]`` leaves no choice but to make."""
    if scenario.prediction == "text":
        return model.text([response.argmax(-1).tolist()])[0]
    if scenario.prediction == "label":
        allowed = scenario.backbone.options.get("class_indices")
        best = int(response[0].argmax())
        return best if allowed is None else sorted(allowed)[best]
    if scenario.prediction == "image":
        options = scenario.backbone.options
        return response.round().reshape(options["height"], options["width"], 3).numpy().astype(np.uint8)
    size = features.side["height"], features.side["width"]
    if scenario.prediction == "mask":
        return response.argmax(-1).reshape(size).numpy().astype(np.uint8)
    return response.reshape(size).numpy()


def leaves_of(features: FeatureSet) -> tuple[dict[str, Tensor], FeatureSet]:
    leaves = {name: tensor.float().requires_grad_() for name, tensor in features.tensors.items()}
    return leaves, FeatureSet(leaves, features.side, features.given)


def first_positions(model: Any, response: Tensor) -> Tensor:
    """What stands behind the features alone: later tokens run through a decoder's front, as they must."""
    return response[:, :1] if isinstance(model, SplitLanguageModel) else response


def test_predictions_are_made_from_responses(shown: Any) -> None:
    scenario, model, features = shown
    with torch.no_grad():
        response, lengths = model.response(features), model.response_lengths(features)
    assert response.shape[:2] == (len(features), max(lengths)) and model.response_kind in ("logits", "values")
    expected = model.tail(features)
    for one, row, length, prediction in zip(features, response, lengths, expected, strict=True):
        assert np.array_equal(predicted(scenario, model, one, row[:length]), prediction)
        assert not row[length:].any() and torch.isfinite(row).all()


def test_tail_and_response_together_are_those_apart(shown: Any) -> None:
    _, model, features = shown
    predictions, together = model.tail_and_response(features)
    assert not together.requires_grad
    for found, expected in zip(predictions, model.tail(features), strict=True):
        assert np.array_equal(found, expected) and type(found) is type(expected)
    torch.testing.assert_close(together, model.response(features).detach(), atol=1e-4, rtol=1e-4)


def test_gradients_reach_every_feature_of_their_own_sample_and_no_other(shown: Any) -> None:
    _, model, features = shown
    (first, one), (second, other) = (leaves_of(features) for features in features)
    response, lengths = model.response([one, other]), model.response_lengths([one, other])
    shape = torch.linspace(-1, 2, response[0, : lengths[0]].numel()).reshape(response[0, : lengths[0]].shape)
    loss = (response[0, : lengths[0]] * shape).square().sum()
    found = torch.autograd.grad(loss, [*first.values(), *second.values()], allow_unused=True)
    for name, gradient in zip(first, found, strict=False):
        if name == "hidden" or not isinstance(model, SplitLanguageModel) or lengths[0] > 1:
            assert gradient is not None and torch.isfinite(gradient).all() and gradient.any(), name
    assert not any(gradient is not None and gradient.any() for gradient in found[len(first) :])


def test_a_sample_responds_alone_as_in_a_batch(shown: Any) -> None:
    _, model, features = shown
    with torch.no_grad():
        together, lengths = model.response(features), model.response_lengths(features)
        for one, row, length in zip(features, together, lengths, strict=True):
            torch.testing.assert_close(model.response([one])[0], row[:length], atol=2e-3, rtol=1e-3)


def test_the_response_needs_no_weight_of_the_front(shown: Any) -> None:
    _, model, features = shown
    with torch.no_grad():
        before = first_positions(model, model.response(features))
        kept = {name: tensor.clone() for name, tensor in _weights(model)}
        try:
            fill_with_nan(model.front_modules())
            after = first_positions(model, model.response(features))
        finally:
            for name, tensor in _weights(model):
                tensor.copy_(kept[name])
    assert torch.equal(before, after)


def _weights(model: Any) -> Sequence[tuple[str, Tensor]]:
    return [
        (f"{index}.{name}", parameter)
        for index, module in enumerate(model.front_modules())
        for name, parameter in module.named_parameters()
    ]
