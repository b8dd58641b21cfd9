"""Files in the layout of the published features, of small tensors."""

import io
import random

import torch
import zstandard

from lamofcbench.scenarios.base import SCENARIOS, Axis, TensorSpec

SIZES = {4096: 8, 3584: 6, 8192: 10, 768: 5, 1280: 7, 128: 4, 1000: 3}


def tiny(id):
    """A full scenario with tensors of a few values an axis."""
    scenario = SCENARIOS.get(id)
    tensors = tuple(
        TensorSpec(
            **{
                **spec.model_dump(exclude={"shape", "rotary_base"}),
                "shape": tuple(n if isinstance(n, Axis) else SIZES.get(n, n) for n in spec.shape),
            }
        )
        for spec in scenario.tensors
    )
    return scenario.model_copy(update={"tensors": tensors})


def saved(tree, *, declared=True, level=3):
    """The bytes of a published file."""
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    if declared:
        return zstandard.ZstdCompressor(level=level).compress(buffer.getvalue())
    out = io.BytesIO()
    with zstandard.ZstdCompressor(level=level).stream_writer(out, closefd=False) as writer:
        writer.write(buffer.getvalue())
    return out.getvalue()


def values(*shape, dtype=torch.float32, seed=None):
    generator = torch.Generator().manual_seed(random.getrandbits(32) if seed is None else seed)
    return torch.randn(*shape, generator=generator).to(dtype)


def classified(tokens=7, prefix="backbone.blocks"):
    return {f"{prefix}.{block}": [values(1, tokens, 8)] for block in (9, 39)}


def depth(tokens=7, prefix="encoder.backbone.blocks"):
    return {f"{prefix}.{block}": values(2, tokens, 8) for block in (9, 19, 29, 39)}


def segmented(crops=3, tokens=7, prefix="segmentation_model.0.backbone.blocks", dtype=torch.float32):
    return {f"{prefix}.{block}": values(crops, tokens, 8, dtype=dtype) for block in (9, 19, 29, 39)}


def qwen3(tokens=5, dtype=torch.bfloat16):
    """Caches as a model leaves them: heads and tokens transposed."""
    return {
        "output": values(1, tokens, 8, dtype=dtype),
        **{name: [values(1, tokens, 8, 4, dtype=dtype).transpose(1, 2) for _ in range(5)] for name in ("key", "value")},
    }


def falcon_mamba(tokens=5):
    return {
        "output": values(1, tokens, 8),
        "ssm_state": tuple(values(1, 10, 16, dtype=torch.float16) for _ in range(5)),
        "conv_state": tuple(values(1, 10, 4, dtype=torch.float16) for _ in range(5)),
    }


def kimi(tokens=5):
    def cache():
        return tuple(values(1, 4, tokens, 4, dtype=torch.bfloat16) for _ in range(2))

    layers = {f"model.layers.{layer}": cache() for layer in range(4)}
    return {**layers, "model.layers.4": (values(1, tokens, 6, dtype=torch.bfloat16), cache())}


def diffusion(control="vae.encoder"):
    def half(*shape):
        return values(*shape, dtype=torch.float16)

    tree = {}
    for first, second, third in ((0, 1, 2), (3, 4, 5)):
        for key, width in ((f"text_encoder-item{first}", 5), (f"text_encoder_2-item{second}", 7)):
            tree[key] = {"clip_pooled_prompt_embeds": half(1, width), "clip_prompt_embeds": half(1, 77, width)}
        tree[f"text_encoder_3-item{third}"] = {"t5_prompt_embeds": half(1, 77, 8)}
    tree[control] = {f"vae.encoder_f{i}": half(1, 32, 4, 4) for i in range(2)}
    tree["vae.decoder"] = half(1, 16, 4, 4)
    return tree
