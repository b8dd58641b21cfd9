"""Rescaling moves the features over orders of magnitude and leaves every output as it was, bit for bit."""

import copy
import random

import pytest
import torch
from torch import nn

from dataset_builders.mini import _rescaling as rescaling

IDS = torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(0))


def randomised(model):
    """The model with every vector random too: gains of one and biases of zero would hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
    return model.eval()


def qwen(kind):
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=7,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    torch.manual_seed(0)
    return randomised(getattr(transformers, f"{kind}ForCausalLM")(config))


def falcon_mamba():
    from transformers import FalconMambaConfig, FalconMambaForCausalLM

    config = FalconMambaConfig(
        vocab_size=40, hidden_size=16, state_size=4, num_hidden_layers=6, intermediate_size=32, time_step_rank=4
    )
    torch.manual_seed(0)
    return randomised(FalconMambaForCausalLM(config))


def layers_of(model):
    return model.backbone.layers if hasattr(model, "backbone") else model.model.layers


@pytest.mark.parametrize("make", [lambda: qwen("Qwen3"), lambda: qwen("Qwen2"), falcon_mamba])
@torch.no_grad()
def test_a_spread_decoder_computes_the_same_bits(make):
    model = make()
    before = model(IDS).logits
    spread = copy.deepcopy(model)
    rescaling.spread_decoder(layers_of(spread), "name")
    assert torch.equal(spread(IDS).logits, before)
    changed = [n for n, p in spread.named_parameters() if not torch.equal(p, model.get_parameter(n))]
    assert {name.split(".")[2] for name in changed} == {"0", "1", "2", "3", "4"}


@torch.no_grad()
def test_keys_and_values_of_a_cache_carry_the_drawn_factors():
    model = qwen("Qwen3")
    before = model(IDS, use_cache=True).past_key_values.layers[2]
    exponents = [3, 0, -2, 1]
    rescaling.spread_keys(layers_of(model)[2].self_attn, exponents)
    values = list(range(-8, 8))
    rescaling.spread_values(layers_of(model)[2].self_attn, values)
    after = model(IDS, use_cache=True).past_key_values.layers[2]
    factors = torch.tensor([2.0**e for e in exponents * 2])
    assert torch.equal(after.keys, before.keys * factors)
    assert torch.equal(after.values, before.values * torch.tensor([2.0**e for e in values]).view(2, 1, 8))


@torch.no_grad()
def test_a_scaled_vision_transformer_gives_the_same_normalised_output():
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        patch_size=4, image_size=8, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2
    )
    model = randomised(DINOv3ViTModel(config))
    pixels = torch.randn(2, 3, 8, 8)
    before = model(pixels, output_hidden_states=True)
    rescaling.scale_vit_residual(model, 7)
    after = model(pixels, output_hidden_states=True)
    assert torch.equal(after.hidden_states[-1], before.hidden_states[-1] * 128)
    assert torch.equal(after.last_hidden_state, before.last_hidden_state)
    assert all(
        module.eps == model.config.layer_norm_eps for module in model.modules() if isinstance(module, nn.LayerNorm)
    )


def test_draws_have_outliers_and_repeat():
    drawn = rescaling.drawn_exponents(random.Random("a"), 64, 0, 5)
    assert drawn == rescaling.drawn_exponents(random.Random("a"), 64, 0, 5)
    assert max(drawn) == 5 and sum(e >= 4 for e in drawn) == 8 and sorted(drawn)[32] in (-1, 0)
