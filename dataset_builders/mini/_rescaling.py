"""Spreads the channels of a trained model's features over orders of magnitude, without changing what it computes.

Real models have channels a hundred times larger than their neighbours; small ones trained for minutes do not. Where two
weights of a model meet in a product, one may grow by what the other shrinks: keys against queries, values against the
output projection, the input of a Mamba's convolution against its kernel, a residual stream against the norms that read
it. All factors are powers of two, so they change no digit of any number, short of overflow and underflow: outputs stay
the same bit for bit, and so do the rounding errors of features in half precision relative to their size.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

Exponents = list[int]


def drawn_exponents(source: random.Random, count: int, typical: int, largest: int) -> Exponents:
    """Draws exponents of two: most are `typical` or one beside it, an eighth (at least one) reach up to `largest`.

    Args:
        source: of the draws.
        count: how many.
        typical: the middle of most of them.
        largest: of the outliers, of which the first has it exactly.
    """
    exponents = [typical + source.choice((-1, 0, 0, 1)) for _ in range(count)]
    outliers = source.sample(range(count), max(1, count // 8))
    for rank, index in enumerate(outliers):
        exponents[index] = largest - rank % 2
    return exponents


def _factors(exponents: Iterable[int]) -> Tensor:
    return torch.tensor([2.0**exponent for exponent in exponents])


@torch.no_grad()
def spread_keys(attention: nn.Module, exponents: Exponents) -> None:
    """Scales an attention layer's cached keys by channel, and its queries by the inverse.

    Rotary positions turn channel i with channel i + D/2 of a head, so the two share a factor.

    Args:
        attention: of Qwen3 (with norms of query and key) or Qwen2 (with projections alone).
        exponents: of two; D/2 where the norms' gains are shared by all heads, else H * D/2.
    """
    layer: Any = attention
    if hasattr(layer, "k_norm"):
        factors = _factors(exponents).repeat(2)
        layer.k_norm.weight *= factors
        layer.q_norm.weight /= factors
        return
    groups = layer.num_key_value_groups
    pairs = layer.head_dim // 2
    factors = _factors(exponents).view(-1, 1, pairs).expand(-1, 2, -1)  # [H, 2, D/2]
    _scale_outputs(layer.k_proj, factors.flatten())
    _scale_outputs(layer.q_proj, 1 / factors.repeat_interleave(groups, dim=0).flatten())


@torch.no_grad()
def spread_values(attention: nn.Module, exponents: Exponents) -> None:
    """Scales an attention layer's cached values by channel, and the output projection by the inverse.

    Args:
        attention: of Qwen3 or Qwen2.
        exponents: of two, one for each of the H * D channels.
    """
    layer: Any = attention
    factors = _factors(exponents)
    _scale_outputs(layer.v_proj, factors)
    heads = factors.view(-1, layer.head_dim).repeat_interleave(layer.num_key_value_groups, dim=0)
    layer.o_proj.weight /= heads.flatten()


@torch.no_grad()
def spread_conv_inputs(mixer: nn.Module, exponents: Exponents) -> None:
    """Scales what enters a Mamba layer's convolution by channel, and the kernel by the inverse.

    Args:
        mixer: of Falcon-Mamba.
        exponents: of two, one for each inner channel.
    """
    layer: Any = mixer
    factors = _factors(exponents)
    inner = len(factors)
    layer.in_proj.weight[:inner] *= factors[:, None]  # the other half is the gate
    if layer.in_proj.bias is not None:
        layer.in_proj.bias[:inner] *= factors
    layer.conv1d.weight /= factors[:, None, None]


@torch.no_grad()
def scale_vit_residual(backbone: nn.Module, exponent: int) -> None:
    """Scales the residual stream of a DINOv3 ViT; its norms divide it out again, and their epsilon grows with it.

    Args:
        backbone: a `DINOv3ViTModel`.
        exponent: of two.
    """
    model: Any = backbone
    factor = 2.0**exponent
    embeddings = model.embeddings
    for parameter in (*embeddings.patch_embeddings.parameters(), embeddings.cls_token, embeddings.register_tokens):
        parameter *= factor
    for name, parameter in model.named_parameters():
        if name.endswith(".lambda1"):
            parameter *= factor
    model.config.layer_norm_eps *= factor**2
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps *= factor**2


def _scale_outputs(linear: Any, factors: Tensor) -> None:
    linear.weight *= factors[:, None]
    if linear.bias is not None:
        linear.bias *= factors


# The largest exponents bring keys and values near the ranges of the published quantisation tables: keys of layer 0
# reach 225, those of layers 1-4 reach 20 to 55; values of layer 0 stay below 0.3.
KEY_EXPONENTS = ((1, 5), (0, 3), (0, 3), (0, 3), (0, 3))
VALUE_EXPONENTS = ((-4, -3), (-1, 1), (-1, 1), (-1, 1), (-1, 1))
CONV_EXPONENTS = (0, 3)


def spread_decoder(layers: Iterable[nn.Module], name: str) -> None:
    """Spreads the caches of a decoder's front layers in place, by draws that the model's name seeds.

    Args:
        layers: the decoder layers, of which the first five are spread: of Qwen3, Qwen2 or Falcon-Mamba.
        name: of the model.
    """
    for index, (layer, keys, values) in enumerate(zip(layers, KEY_EXPONENTS, VALUE_EXPONENTS, strict=False)):
        module: Any = layer
        if hasattr(module, "mixer"):
            source = random.Random(f"{name} conv_state.{index}")
            spread_conv_inputs(module.mixer, drawn_exponents(source, module.mixer.intermediate_size, *CONV_EXPONENTS))
            continue
        attention = module.self_attn
        heads = attention.k_proj.out_features // attention.head_dim
        pairs = attention.head_dim // 2 * (1 if hasattr(attention, "k_norm") else heads)
        spread_keys(attention, drawn_exponents(random.Random(f"{name} key.{index}"), pairs, *keys))
        channels = heads * attention.head_dim
        spread_values(attention, drawn_exponents(random.Random(f"{name} value.{index}"), channels, *values))
