"""What the full edition needs of disk, memory and GPU time: computed from shapes and rates, so an estimate.

Networks are made at real size on the meta device, which holds no values; what a tail leaves out is left out as a run
does it (`lamofcbench.models.placement.without`). ``python hub_cards/full_sizes.py`` prints the table of
docs/full-edition.md, and ``make readme`` writes it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lamofcbench.features import TORCH_DTYPES
from lamofcbench.markdown import markdown_table
from lamofcbench.models.placement import without
from lamofcbench.scenarios.base import SCENARIOS, Scenario

GIGA = 1e9
TOKENS = {"cvu-imagenet": 1029, "cvu-nyuv2": 3077, "cvu-ade20k": 3141, "clu": 300, "cau": 110}
"""Of a sample: exact for vision; of language prompts, and of eight seconds of audio with marks around it, a guess."""
WINDOWS, VIEWS = 2, 2
"""Windows of an ADE20K picture (two in most shapes), and views of one of NYUv2."""
ANSWER_TOKENS = {"clu-gsm8k": 150, "clu": 10, "cau": 40}
"""Written for an answer, a guess; the limits are higher."""

HALF_FLOPS, SINGLE_FLOPS, BYTES_A_SECOND = 400e12, 40e12, 2e12
"""What one H100-class GPU is taken to do: 16-bit and 32-bit operations, and bytes read of its memory, a second."""


@dataclass(frozen=True)
class Network:
    """A network at real size.

    Attributes:
        parameters: how many values it holds.
        in_tail: how many of them a run loads.
        behind: how many the tail puts each token through; of a decoder those behind the split.
    """

    parameters: int
    in_tail: int
    behind: int = 0


def on_meta(make: Callable[[], nn.Module]) -> int:
    """The values of a network that is made without memory."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())


@functools.cache
def backbone(level: int) -> Network:
    """DINOv3 ViT-7B, split after a block."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=4096, intermediate_size=8192, num_hidden_layers=40, num_attention_heads=32, patch_size=16,
        num_register_tokens=4, use_gated_mlp=True, query_bias=False, value_bias=False, key_bias=False,
    )  # fmt: skip
    unused = ["embeddings", *(f"model.layer.{index}" for index in range(level + 1))]
    whole = on_meta(lambda: DINOv3ViTModel(config))
    tail = on_meta(lambda: without(DINOv3ViTModel, unused)(config))
    return Network(whole, tail, tail)


@functools.cache
def head(name: str) -> int:
    """The values of a published head."""
    if name == "linear":
        return 1000 * 8192 + 1000
    from lamofcbench.models.vision_heads.dinov3_dpt import DINOv3DPTHead
    from lamofcbench.models.vision_heads.dinov3_segmentor import DINOv3SegmentorHead

    levels = (9, 19, 29, 39)
    if name == "dinov3-dpt":
        return on_meta(lambda: DINOv3DPTHead(levels, 4096))
    return on_meta(lambda: DINOv3SegmentorHead(levels))


@functools.cache
def decoder(family: str) -> Network:
    """A decoder: every new token runs through all of it, so that its tail leaves nothing out."""
    import transformers

    if family == "qwen3-decoder":
        config: Any = transformers.Qwen3Config(
            vocab_size=151936, hidden_size=4096, intermediate_size=12288, num_hidden_layers=36, num_attention_heads=32,
            num_key_value_heads=8, head_dim=128, tie_word_embeddings=False,
        )  # fmt: skip
        whole = on_meta(lambda: transformers.Qwen3ForCausalLM(config))
    else:
        config = transformers.FalconMambaConfig(
            vocab_size=65024, hidden_size=4096, intermediate_size=8192, state_size=16, num_hidden_layers=64,
            time_step_rank=256, conv_kernel=4, tie_word_embeddings=False,
        )  # fmt: skip
        whole = on_meta(lambda: transformers.FalconMambaForCausalLM(config))
    return Network(whole, whole, whole)


@functools.cache
def spoken() -> Network:
    """Kimi-Audio with Whisper's encoder and the speech tokenizer, neither of which a tail runs."""
    from transformers import Qwen2Config, WhisperConfig

    from lamofcbench.models.kimi_audio import decoder_class, encoder_class
    from lamofcbench.models.speech_tokenizer import SpeechTokenizer, SpeechTokenizerSizes

    config = Qwen2Config(
        vocab_size=168448, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28,
        num_key_value_heads=4, tie_word_embeddings=False,
    )  # fmt: skip
    config.kimia_adaptor_input_dim = 5120
    whisper = WhisperConfig(
        d_model=1280, encoder_layers=32, encoder_attention_heads=20, encoder_ffn_dim=5120, num_mel_bins=128
    )
    whole = on_meta(lambda: decoder_class()(config))
    heard = on_meta(lambda: encoder_class()(whisper)) + on_meta(lambda: SpeechTokenizer(SpeechTokenizerSizes()))
    tail = on_meta(lambda: without(decoder_class(), ["model.vq_adaptor"])(config))
    return Network(whole + heard, tail, tail)


@functools.cache
def pipeline() -> dict[str, int]:
    """The components of Stable Diffusion 3.5 Large with its ControlNet."""
    import diffusers
    import transformers

    common = {"num_attention_heads": 38, "attention_head_dim": 64, "caption_projection_dim": 2432}
    clip = {"num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768}
    clips = [
        transformers.CLIPTextConfig(hidden_size=768, intermediate_size=3072, **clip),
        transformers.CLIPTextConfig(
            hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, projection_dim=1280
        ),
    ]
    t5 = transformers.T5Config(
        d_model=4096, d_ff=10240, num_layers=24, num_heads=64, d_kv=64, vocab_size=32128, feed_forward_proj="gated-gelu"
    )
    blocks = (128, 256, 512, 512)
    return {
        "transformer": on_meta(
            lambda: diffusers.SD3Transformer2DModel(
                num_layers=38, pos_embed_max_size=192, qk_norm="rms_norm", pooled_projection_dim=2048, **common
            )
        ),
        "controlnet": 2_153_518_976,  # counted when its names were looked up
        "vae": on_meta(
            lambda: diffusers.AutoencoderKL(
                block_out_channels=blocks,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
                latent_channels=16,
                use_quant_conv=False,
                use_post_quant_conv=False,
            )
        ),
        "text encoders": on_meta(lambda: transformers.T5EncoderModel(t5))
        + sum(on_meta(lambda config=one: transformers.CLIPTextModelWithProjection(config)) for one in clips),
    }


# ------------------------------------------------------------------------------------------------------- estimates


@dataclass(frozen=True)
class Estimate:
    """What a scenario needs.

    Attributes:
        features: bytes of both splits on disk, uncompressed.
        weights: bytes of all weights, and what building holds in memory.
        tail: bytes of the weights that a run loads.
        building: GPU seconds of the fronts of both splits.
        running: GPU seconds of the tails of the test split, which every rate point needs.
    """

    features: float
    weights: float
    tail: float
    building: float
    running: float


def estimate(scenario: Scenario) -> Estimate:
    """What a full scenario needs, by the shapes of its tensors and networks."""
    samples = scenario.test_samples + scenario.calibration_samples
    features = samples * _sample_bytes(scenario)
    if scenario.category == "CTTI":
        return _generated(scenario, samples, features)
    options = scenario.backbone.options
    dtype = TORCH_DTYPES[options.get("compute_dtype", "float32")]
    tokens = _lookup(TOKENS, scenario.id)
    if scenario.category == "CVU":
        network, on_top = backbone(scenario.splits[-1]), head(str(options["head"]))
        views = {"cvu-ade20k": WINDOWS, "cvu-nyuv2": VIEWS}.get(scenario.id, 1)
        flops = HALF_FLOPS if options.get("backbone_autocast") else SINGLE_FLOPS
        front = 2 * (network.parameters - network.in_tail) * tokens * views / flops
        # A head's convolutions run at a quarter to many times as many places as there are patches; 4 stands for all.
        tail = 2 * network.behind * tokens * views / flops + 2 * on_top * tokens * views * 4 / SINGLE_FLOPS
        if options["head"] == "linear":
            tail = 2 * network.behind * tokens / flops
        weights = [(network.parameters + on_top), (network.in_tail + on_top)]
        return Estimate(features, *(4 * n for n in weights), samples * front, scenario.test_samples * tail)
    network = spoken() if scenario.category == "CAU" else decoder(scenario.backbone.adapter)
    size = dtype.itemsize
    share = (scenario.splits[0] + 1) / (64 if "mamba" in scenario.id else 28 if scenario.category == "CAU" else 36)
    front = 2 * share * network.in_tail * tokens / HALF_FLOPS + network.parameters * size / BYTES_A_SECOND
    answer = _lookup(ANSWER_TOKENS, scenario.id)
    tail = 2 * network.behind * tokens / HALF_FLOPS + answer * network.in_tail * size / BYTES_A_SECOND
    return Estimate(
        features, network.parameters * size, network.in_tail * size, samples * front, scenario.test_samples * tail
    )


def _generated(scenario: Scenario, samples: int, features: float) -> Estimate:
    parts, steps = pipeline(), scenario.backbone.options["num_inference_steps"]
    places = (scenario.backbone.options["height"] // 16) ** 2 + 154  # tokens of the image and of both prompts
    denoising = steps * 2 * 2 * (parts["transformer"] + parts["controlnet"]) * places / HALF_FLOPS
    decoding = 2 * parts["vae"] * 1024**2 / 16 / HALF_FLOPS
    latent = scenario.backbone.options.get("mode") == "latent"
    whole, size = sum(parts.values()), 2
    tail = parts["vae"] if latent else whole - parts["text encoders"]
    running = decoding if latent else denoising + decoding
    # References are the tail's own images, so that building runs the tail, too.
    return Estimate(
        features, whole * size, tail * size, samples * (denoising + decoding), scenario.test_samples * running
    )


def _sample_bytes(scenario: Scenario) -> float:
    sizes = {"tokens": 0.0 if scenario.category == "CTTI" else _lookup(TOKENS, scenario.id), "crops": WINDOWS}
    total = 0.0
    for spec in scenario.tensors:
        count = 1.0
        for size in spec.shape:
            count *= size if isinstance(size, int) else sizes[size.name]
        total += count * spec.bits / 8
    return total


def _lookup(values: dict[str, int], id: str) -> int:
    return next(value for name, value in values.items() if id.startswith(name))


def table() -> str:
    """A row a full scenario."""
    head = (
        "scenario", "features on disk, GB", "weights on disk, in memory to build, GB", "in memory to run, GB",
        "GPU to build, minutes", "GPU a rate point, minutes",
    )  # fmt: skip
    rows = []
    for scenario in sorted((one for one in SCENARIOS if one.edition == "full"), key=lambda one: one.id):
        found = estimate(scenario)
        cells = [_shown(value / GIGA) for value in (found.features, found.weights, found.tail)]
        cells += [_shown(value / 60) for value in (found.building, found.running)]
        rows.append((f"`{scenario.id}`", *cells))
    return markdown_table(head, rows, right=range(1, len(head)))


def _shown(value: float) -> str:
    return "under 0.01" if value < 0.01 else f"{value:.2g}" if value < 10 else f"{value:.0f}"


if __name__ == "__main__":
    print(table())
