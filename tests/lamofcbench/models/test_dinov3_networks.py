"""The published segmentor's networks compute what their equations say; Mask2Former's are also those of transformers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from plain_segmentor import adapted, deformable, pixels_decoded, places_of, queries_decoded
from plain_vision import under, weights_of
from small_segmentor import ADAPTER_HEADS, ENCODER_HEADS, HEADS, LEVELS, SIZES, WIDTH, small_segmentor

from lamofcbench.models.vision_heads.deformable_attention import DeformableAttention, centres

HEIGHT, BREADTH = 64, 96  # windows are square, the equations are not
GRIDS = [(HEIGHT // step, BREADTH // step) for step in (4, 8, 16, 32)]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def adapter_inputs() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Two images, and their four levels at a sixteenth."""
    return drawn(2, 3, HEIGHT, BREADTH), [drawn(2, WIDTH, *GRIDS[2], seed=1 + level) for level in LEVELS]


def decoder_inputs() -> list[torch.Tensor]:
    """What an adapter makes of two images, fine to coarse."""
    return [drawn(2, WIDTH, *grid, seed=grid[0]) for grid in GRIDS]


@torch.no_grad()
def test_deformable_attention_is_what_the_equation_says() -> None:
    attention = DeformableAttention(12, heads=3, levels=2, points=4, value_width=6)
    for number, parameter in enumerate(attention.parameters()):
        parameter.copy_(drawn(*parameter.shape, seed=number))
    sizes = [(3, 5), (2, 1)]
    queries, values = drawn(2, 17, 12, seed=20), drawn(2, 17, 12, seed=21)
    places = centres(sizes, queries.device, queries.dtype)
    np.testing.assert_allclose(places, places_of(sizes), rtol=1e-6)
    found = attention(queries, places, values, sizes)
    for sample in range(2):
        expected = deformable(
            weights_of(attention), queries[sample].double().numpy(), places_of(sizes), values[sample].double().numpy(),
            sizes, heads=3,
        )  # fmt: skip
        np.testing.assert_allclose(found[sample], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_adapter_is_what_its_equations_say() -> None:
    adapter = small_segmentor().segmentation_model[0]
    pixels, levels = adapter_inputs()
    found = adapter(pixels, levels)
    assert [tuple(level.shape[1:]) for level in found] == [(WIDTH, *grid) for grid in GRIDS]
    for sample in range(2):
        maps = [level[sample].double().numpy() for level in levels]
        expected = adapted(weights_of(adapter), pixels[sample].double().numpy(), maps, ADAPTER_HEADS)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one[sample], other, atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_the_mask2former_is_what_its_equations_say() -> None:
    mask2former = small_segmentor().segmentation_model[1]
    levels = decoder_inputs()
    maps, mask_features = mask2former.pixel_decoder(levels)
    steps = mask2former.predictor(maps, mask_features)
    assert len(steps) == 1 + SIZES.layers
    for sample in range(2):
        inputs = [level[sample].double().numpy() for level in levels]
        plain = under(weights_of(mask2former), "pixel_decoder.")
        expected_maps, expected_features = pixels_decoded(plain, inputs, ENCODER_HEADS)
        for one, other in zip((*maps, mask_features), (*expected_maps, expected_features), strict=True):
            np.testing.assert_allclose(one[sample], other, atol=2e-4, rtol=1e-3)
        plain = under(weights_of(mask2former), "predictor.")
        for one, other in zip(steps, queries_decoded(plain, expected_maps, expected_features, HEADS), strict=True):
            np.testing.assert_allclose(one[0][sample], other[0], atol=2e-3, rtol=1e-3)
            np.testing.assert_allclose(one[1][sample], other[1], atol=5e-3, rtol=1e-3)


# ----------------------------------------------------------------------------------------- the library's Mask2Former

PIXEL_DECODER = {
    "input_convs": "input_projections",
    "encoder.level_encoding": "level_embed",
    r"encoder.encoder.layers.(\d+).norm1": r"encoder.layers.\1.self_attn_layer_norm",
    r"encoder.encoder.layers.(\d+).linear1": r"encoder.layers.\1.fc1",
    r"encoder.encoder.layers.(\d+).linear2": r"encoder.layers.\1.fc2",
    r"encoder.encoder.layers.(\d+).norm2": r"encoder.layers.\1.final_layer_norm",
    r"encoder.encoder.layers": "encoder.layers",
    "lateral_convs.0.norm": "adapter_1.1",
    "lateral_convs.0": "adapter_1.0",
    "output_convs.0.norm": "layer_1.1",
    "output_convs.0": "layer_1.0",
    "mask_feature": "mask_projection",
}
QUERY_DECODER = {
    r"transformer_cross_attention_layers.(\d+).multihead_attn": r"decoder.layers.\1.cross_attn",
    r"transformer_cross_attention_layers.(\d+).norm": r"decoder.layers.\1.cross_attn_layer_norm",
    r"transformer_self_attention_layers.(\d+).self_attn": r"decoder.layers.\1.self_attn",
    r"transformer_self_attention_layers.(\d+).norm": r"decoder.layers.\1.self_attn_layer_norm",
    r"transformer_ffn_layers.(\d+).linear1": r"decoder.layers.\1.fc1",
    r"transformer_ffn_layers.(\d+).linear2": r"decoder.layers.\1.fc2",
    r"transformer_ffn_layers.(\d+).norm": r"decoder.layers.\1.final_layer_norm",
    "post_norm": "decoder.layernorm",
    "query_feat": "queries_features",
    "query_embed": "queries_embedder",
    r"mask_embed.layers.(\d)": r"decoder.mask_predictor.mask_embedder.\1.0",
}


def renamed(module: torch.nn.Module, names: dict[str, str]) -> dict[str, torch.Tensor]:
    """A module's tensors by the library's names; packed projections of self-attention are taken apart."""
    tensors = {}
    for name, tensor in module.state_dict().items():
        for ours, theirs in names.items():
            if re.match(ours, name):
                name = re.sub(f"^{ours}", theirs, name)
                break
        if "self_attn.in_proj" in name:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                tensors[name.replace("in_proj_", f"{letter}_proj.")] = part
        else:
            tensors[name] = tensor
    return tensors


@pytest.fixture(scope="module")
def library_config() -> Any:
    from transformers import Mask2FormerConfig

    return Mask2FormerConfig(
        feature_size=SIZES.hidden,
        mask_feature_size=SIZES.mask_channels,
        hidden_dim=SIZES.hidden,
        encoder_feedforward_dim=SIZES.encoder_network,
        encoder_layers=SIZES.encoder_layers,
        decoder_layers=SIZES.layers + 1,
        dim_feedforward=SIZES.network,
        num_attention_heads=ENCODER_HEADS,
        num_queries=SIZES.queries,
        dropout=0.0,
    )


@torch.no_grad()
def test_the_pixel_decoder_is_the_librarys(library_config: Any) -> None:
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder

    ours = small_segmentor().segmentation_model[1].pixel_decoder
    theirs = Mask2FormerPixelDecoder(library_config, [WIDTH] * 4).eval()
    theirs.load_state_dict(renamed(ours, PIXEL_DECODER))
    maps, mask_features = ours(decoder_inputs())
    expected = theirs(decoder_inputs(), return_dict=True)
    torch.testing.assert_close(mask_features, expected.mask_features, atol=1e-4, rtol=1e-4)
    for one, other in zip(maps, expected.multi_scale_features, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_query_decoder_is_the_librarys(library_config: Any) -> None:
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerTransformerModule

    mask2former = small_segmentor().segmentation_model[1]
    ours = mask2former.predictor
    library_config.num_attention_heads = HEADS
    theirs = Mask2FormerTransformerModule(SIZES.hidden, library_config).eval()
    tensors = renamed(ours, QUERY_DECODER)
    theirs.load_state_dict({name: tensor for name, tensor in tensors.items() if "class_embed" not in name})
    maps, mask_features = mask2former.pixel_decoder(decoder_inputs())
    expected = theirs(maps, mask_features)
    steps = ours(maps, mask_features)
    for (classes, masks), states, other in zip(
        steps, expected.intermediate_hidden_states, expected.masks_queries_logits, strict=True
    ):
        torch.testing.assert_close(masks, other, atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(classes, ours.class_embed(states.transpose(0, 1)), atol=2e-3, rtol=1e-3)
