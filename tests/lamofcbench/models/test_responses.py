"""Responses of decoders are what they choose tokens from: each kind of decoder on its mini scenario."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from lamofcbench.builders import BUILDERS
from lamofcbench.errors import PluginError
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import MODELS, SplitModel
from lamofcbench.models.language_model import SplitLanguageModel
from lamofcbench.models.loading import load_model
from lamofcbench.models.teacher_forcing import CONTINUATION
from lamofcbench.scenarios.base import SCENARIOS

SAMPLES = 5
SHOWING = [name for name in MODELS.names() if issubclass(MODELS.get(name), SplitLanguageModel)]
PROVEN_ELSEWHERE = {"decoder-continuation": "test_decoder_continuation.py"}
ADAPTERS = [name for name in SHOWING if name not in PROVEN_ELSEWHERE]


@functools.lru_cache(maxsize=1)
def opened(adapter: str) -> tuple[Any, list[FeatureSet]]:
    """A mini scenario's model, and features of prompts of different lengths; tests of one adapter follow each other."""
    scenario = next(s for s in SCENARIOS if s.edition == "mini" and s.backbone.adapter == adapter)
    assert scenario.builder is not None
    builder = BUILDERS.get(scenario.builder)()
    model = load_model(scenario, builder=builder)
    return model, [model.front(sample.inputs) for sample in list(builder.samples("test"))[:SAMPLES]]


@pytest.fixture(params=ADAPTERS)
def shown(request: Any) -> tuple[Any, list[FeatureSet]]:
    return opened(request.param)


def test_decoders_show_responses() -> None:
    assert {"qwen3-decoder", "falcon-mamba-decoder", "kimi-audio", "decoder-continuation"} <= set(SHOWING)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_the_tail_of_every_scenario_shows_responses(scenario: Any) -> None:
    assert MODELS.get(scenario.backbone.adapter).shows_responses(scenario)


def test_each_response_chooses_what_the_tail_says(shown: Any) -> None:
    """Greedy generation: forced to the tail's own tokens, each position prefers the next of them."""
    model, features = shown
    conditioned = model.conditioned(features)
    response = model.response(conditioned)
    lengths = model.response_lengths(conditioned)
    assert response.shape[:2] == (len(features), max(lengths))
    tokens = [row[:length].argmax(-1).tolist() for row, length in zip(response, lengths, strict=True)]
    assert model.text(tokens) == model.tail(features)
    assert [one.given[CONTINUATION].tolist() for one in conditioned] == tokens
    for row, length in zip(response, lengths, strict=True):
        assert not row[length:].any()


def test_tail_and_response_together_are_those_apart(shown: Any) -> None:
    model, features = shown
    conditioned = model.conditioned(features)
    texts, together = model.tail_and_response(conditioned)
    assert texts == model.tail(features)
    torch.testing.assert_close(together, model.response(conditioned), atol=1e-4, rtol=1e-4)


def test_a_cache_is_cut_back_by_the_tokens_that_came_and_by_none_where_none_did(shown: Any, monkeypatch: Any) -> None:
    """To crop by nothing means all or nothing, by version of transformers."""
    from transformers import DynamicCache

    model, features = shown
    if not model.takes_tokens_together:
        pytest.skip("its state cannot be cut back")
    cut: list[int] = []
    crop = DynamicCache.crop
    monkeypatch.setattr(DynamicCache, "crop", lambda self, length: (cut.append(length), crop(self, length))[1])
    conditioned = model.conditioned(features)
    model.tail_and_response(conditioned)
    assert len(cut) == 1 and cut[0] < 0
    monkeypatch.setattr(model.model.generation_config, "max_new_tokens", 1)
    _, together = model.tail_and_response(conditioned)
    assert len(cut) == 1
    torch.testing.assert_close(together, model.response(conditioned), atol=1e-4, rtol=1e-4)


def test_a_sample_responds_alone_as_in_a_batch(shown: Any) -> None:
    model, features = shown
    conditioned = model.conditioned(features)
    together, lengths = model.response(conditioned), model.response_lengths(conditioned)
    for one, row, length in zip(conditioned, together, lengths, strict=True):
        torch.testing.assert_close(model.response([one])[0], row[:length], atol=2e-3, rtol=1e-3)


def test_other_features_respond_otherwise_to_the_same_beginning(shown: Any) -> None:
    model, features = shown
    conditioned = model.conditioned(features)
    other = [
        FeatureSet({name: 0.7 * tensor for name, tensor in one.tensors.items()}, one.side, one.given)
        for one in conditioned
    ]
    changed, before = model.response(other), model.response(conditioned)
    assert changed.shape == before.shape and model.response_lengths(other) == model.response_lengths(conditioned)
    assert all(not torch.allclose(a, b, atol=1e-2) for a, b in zip(changed, before, strict=True))


def test_gradients_reach_every_feature_that_lives(shown: Any) -> None:
    model, features = shown
    for one in model.conditioned(features[:2]):
        leaves = {name: tensor.float().requires_grad_() for name, tensor in one.tensors.items()}
        model.response([FeatureSet(leaves, one.side, one.given)]).log_softmax(-1).square().sum().backward()
        assert all(leaf.grad is not None and bool(leaf.grad.any()) for leaf in leaves.values())


def test_a_subclass_with_a_tail_of_its_own_predicts_by_that(shown: Any, monkeypatch: Any) -> None:
    model, features = shown

    class Shouting(type(model)):  # type: ignore[misc]
        def tail(self, batch: Any) -> list[Any]:
            return [text.upper() + "!" for text in super().tail(batch)]

    expected = [text.upper() + "!" for text in model.tail(features)]
    monkeypatch.setattr(model, "__class__", Shouting)
    assert model.tail_and_response(model.conditioned(features))[0] == expected


def test_features_without_a_condition_are_an_error(shown: Any) -> None:
    model, features = shown
    with pytest.raises(PluginError, match="'continuation' beside them; `conditioned` puts it there"):
        model.response(features)


def test_models_without_a_view_say_so() -> None:
    class Silent(SplitModel):
        name = "silent"
        load = full = front = tail = front_modules = None  # type: ignore[assignment]

    silent = Silent()  # type: ignore[abstract]
    assert silent.response_kind is None and silent.conditioned([]) == []
    with pytest.raises(PluginError, match="split model 'silent' shows no responses"):
        silent.response([])
