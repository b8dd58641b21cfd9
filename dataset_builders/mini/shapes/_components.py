"""The components of the shapes pipeline, untrained: a Stable Diffusion 3.5 pipeline with its ControlNet in small.

Those of diffusers are typed as Any, because its lazy imports hide their types.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dataset_builders.mini.shapes.scenes import IMAGE_SIDE, WORDS

if TYPE_CHECKING:
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel, T5Tokenizer

TEXT_TOKENS = 12
LATENT_CHANNELS = 16
VAE_CHANNELS = (16, 32, 64)
LATENT_SIDE = IMAGE_SIDE // 2 ** (len(VAE_CHANNELS) - 1)
CLIP_L_WIDTH, CLIP_G_WIDTH, T5_WIDTH = 32, 48, 96
WIDTH, HEADS, LAYERS, CONTROL_LAYERS = 96, 4, 4, 2


def make_clip_tokenizer() -> CLIPTokenizer:
    """Byte pairs merged until each of the captions' words is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    backend = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    backend.train_from_iterator([" ".join(WORDS)], trainer)
    learnt = json.loads(backend.to_str())["model"]
    merges: Any = [tuple(merge) for merge in learnt["merges"]]
    return CLIPTokenizer(vocab=learnt["vocab"], merges=merges, model_max_length=TEXT_TOKENS)


def make_t5_tokenizer() -> T5Tokenizer:
    """A unigram model whose pieces are the captions' words."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    words = [(f"▁{word}", -1.0) for word in WORDS]
    return T5Tokenizer(vocab=[*special, *words], extra_ids=0, model_max_length=TEXT_TOKENS)


def make_clip(tokenizer: CLIPTokenizer, width: int) -> CLIPTextModelWithProjection:
    """A CLIP text encoder of three layers, whose penultimate hidden states and projection the pipeline takes."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=3,
            num_attention_heads=2,
            projection_dim=width,
            max_position_embeddings=TEXT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def make_t5(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """A T5 encoder of two layers."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=T5_WIDTH,
            d_kv=T5_WIDTH // 4,
            d_ff=2 * T5_WIDTH,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
        )
    )


def make_vae() -> Any:
    """A VAE that shrinks images four times in each direction; its published scale and shift are set after training."""
    from diffusers import AutoencoderKL

    levels = len(VAE_CHANNELS)
    return AutoencoderKL(
        block_out_channels=VAE_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=IMAGE_SIDE,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def make_transformer() -> Any:
    """The joint transformer; modulations and output start at zero, so that each block starts as the identity."""
    from diffusers import SD3Transformer2DModel

    transformer: Any = SD3Transformer2DModel(
        num_layers=LAYERS,
        joint_attention_dim=T5_WIDTH,
        caption_projection_dim=WIDTH,
        pos_embed_max_size=LATENT_SIDE,
        qk_norm="rms_norm",
        **_shared_settings(),
    )
    modulations = [
        module for name, module in transformer.named_modules() if "norm" in name and name.endswith(".linear")
    ]
    _zero([*modulations, transformer.proj_out])
    return transformer


def make_controlnet() -> Any:
    """The ControlNet as Stable Diffusion 3.5 Large has it: no text, no pooled text, the transformer's positions."""
    from diffusers import SD3ControlNetModel

    controlnet: Any = SD3ControlNetModel(
        num_layers=CONTROL_LAYERS,
        joint_attention_dim=None,
        pos_embed_type=None,
        use_pos_embed=False,
        force_zeros_for_pooled_projection=True,
        **_shared_settings(),
    )
    # Its outputs start at zero by the class; an input at zero besides would leave nothing to learn from at first.
    nn.init.normal_(controlnet.pos_embed_input.proj.weight, std=0.1)
    return controlnet


def _shared_settings() -> dict[str, Any]:
    return {
        "sample_size": LATENT_SIDE,
        "patch_size": 2,
        "in_channels": LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "attention_head_dim": WIDTH // HEADS,
        "num_attention_heads": HEADS,
        "pooled_projection_dim": CLIP_L_WIDTH + CLIP_G_WIDTH,
    }


def _zero(modules: list[Any]) -> None:
    with torch.no_grad():
        for module in modules:
            module.weight.zero_()
            module.bias.zero_()
