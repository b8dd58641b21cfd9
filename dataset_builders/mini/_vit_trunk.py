"""The DINOv3 trunk of the mini edition's vision models, with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import DINOv3ViTModel


def make_trunk(
    image_size: int, patch_size: int, *, layers: int, hidden: int, heads: int, **fields: Any
) -> DINOv3ViTModel:
    """Returns a trunk with a class token, four register tokens and MLPs of four times its width.

    Args:
        image_size: side of the largest image.
        patch_size: side of a patch.
        layers: blocks.
        hidden: width.
        heads: of the attention.
        fields: further fields of its configuration.
    """
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_register_tokens=4,
        # A LayerScale of 1, not the pre-training's 1e-5 or so, lets so short a run use every block.
        layerscale_value=1.0,
        **fields,
    )
    return DINOv3ViTModel(config)
