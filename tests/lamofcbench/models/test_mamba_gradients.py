"""Steps with gradients are those of generation: same logits, same tokens, and gradients as finite differences have."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest_models import randomised
from torch import Tensor
from torch.autograd import gradcheck

from lamofcbench.errors import PluginError
from lamofcbench.features import FeatureSet
from lamofcbench.models import mamba_gradients
from lamofcbench.models.mamba import MambaSplitModel
from lamofcbench.models.selective_scan import LIBRARY_MODULE, recurrence
from lamofcbench.models.teacher_forcing import CONTINUATION

PROMPTS = ["12+7=?", "", "how many apples are 3 and 14?"]
"""Of 7, 1 and 24 tokens with <bos>; one is shorter than the convolution's kernel."""
NEW_TOKENS = 5
TIMES, SAMPLES, CHANNELS, STATES = 4, 2, 3, 2


@pytest.fixture(scope="module", params=[0, 2], ids=["inner-split", "split-after-the-last-layer"])
def model(request: Any, tokenizer: Any) -> MambaSplitModel:
    from transformers import FalconMambaConfig, FalconMambaForCausalLM

    settings: dict[str, Any] = {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 3, "time_step_rank": 3}
    tokens: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None}
    network = randomised(FalconMambaForCausalLM(FalconMambaConfig(**settings, **tokens)), spread=0.4)
    return MambaSplitModel(network, tokenizer, request.param, max_new_tokens=NEW_TOKENS)


@pytest.fixture(scope="module")
def features(model: MambaSplitModel) -> list[FeatureSet]:
    return model.conditioned([model.front(prompt) for prompt in PROMPTS])


def walked(dtype: torch.dtype) -> list[Tensor]:
    """Inputs, steps, rates, writes and reads."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(TIMES, SAMPLES, CHANNELS)] * 2 + [(STATES, CHANNELS)] + [(TIMES, SAMPLES, STATES)] * 2
    tensors = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    tensors[1], tensors[2] = tensors[1].exp(), -tensors[2].exp()
    return tensors


@pytest.mark.parametrize("walk", [mamba_gradients.walk, mamba_gradients.recomputed_walk])
def test_the_walk_is_the_recurrence_with_gradients_of_outputs_and_last_state(walk: Callable[..., Any]) -> None:
    for ours, theirs in zip(walk(*walked(torch.float32)), recurrence(*walked(torch.float32)), strict=True):
        assert torch.equal(ours, theirs)
    assert gradcheck(walk, [tensor.requires_grad_() for tensor in walked(torch.float64)])


def test_logits_with_gradients_are_those_without_and_choose_what_generation_chose(
    model: MambaSplitModel, features: list[FeatureSet]
) -> None:
    with_gradients = model.response(features)
    assert with_gradients.requires_grad
    with torch.no_grad():
        assert torch.equal(model.response(features), with_gradients)
    written = model.generate_tokens(features)
    assert with_gradients.argmax(-1).tolist() == written
    assert [one.given[CONTINUATION].tolist() for one in features] == written


def test_gradients_of_all_features_are_those_of_finite_differences(
    model: MambaSplitModel, features: list[FeatureSet]
) -> None:
    """Along a random direction of each tensor; the convolution's oldest column is read by nothing."""
    for one in features:
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in one.tensors.items()}
        weights = torch.randn(model.response([one]).shape, generator=torch.Generator().manual_seed(1))
        loss = (model.response([FeatureSet(leaves, one.side, one.given)]) * weights).sum()
        gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        for name, tensor in one.tensors.items():
            direction = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2)) * 2e-3
            ends = []
            for sign in (1, -1):
                moved = FeatureSet({**one.tensors, name: tensor + sign * direction}, one.side, one.given)
                with torch.no_grad():
                    ends.append((model.response([moved]).double() * weights).sum())
            assert gradients[name].any(), name
            assert float((gradients[name] * direction).sum()) == pytest.approx(
                float(ends[0] - ends[1]) / 2, rel=0.02, abs=1e-3
            ), name
            if name.startswith("conv_state"):
                assert not gradients[name][:, 0].any() and gradients[name][:, 1:].any()


def test_the_library_is_as_it_was_afterwards_and_missing_functions_are_named(monkeypatch: Any) -> None:
    library = importlib.import_module(LIBRARY_MODULE)
    names = ("mamba_selective_scan", mamba_gradients.STATE_UPDATE, *mamba_gradients.CONVOLUTIONS)
    before = [getattr(library, name) for name in names]
    with mamba_gradients.library_steps_differentiable():
        assert all(getattr(library, name) is not function for name, function in zip(names, before, strict=True))
    assert [getattr(library, name) for name in names] == before
    monkeypatch.delattr(library, mamba_gradients.STATE_UPDATE)
    with pytest.raises(PluginError, match="transformers has no mamba_selective_state_update"), \
         mamba_gradients.library_steps_differentiable():  # fmt: skip
        pass
