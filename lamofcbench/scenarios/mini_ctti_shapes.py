"""`mini-ctti-shapes`: captioned shapes drawn along edges by a small Stable Diffusion 3.5 pipeline with its ControlNet.

Mirrors ``ctti-coco-canny``; the variant mirrors its variant, the split before the VAE's decoder.
"""

from __future__ import annotations

from typing import Any

from lamofcbench.scenarios.base import Backbone, Scenario, TensorSpec


def _text(prompt: str) -> tuple[TensorSpec, ...]:
    sizes = (
        ("clip_l.pooled", "pooled", (32,)),
        ("clip_l.hidden", "embedding", (12, 32)),
        ("clip_g.pooled", "pooled", (48,)),
        ("clip_g.hidden", "embedding", (12, 48)),
        ("t5.hidden", "embedding", (12, 96)),
    )
    return tuple(
        TensorSpec(name=f"{name}.{prompt}", role=role, shape=shape, dtype="float16") for name, role, shape in sizes
    )


_OPTIONS: dict[str, Any] = {
    "height": 32,
    "width": 32,
    "num_inference_steps": 8,
    "guidance_scale": 2.5,
    "t5_tokens": 12,
}

MINI_CTTI_SHAPES = Scenario(
    id="mini-ctti-shapes",
    version=1,
    edition="mini",
    category="CTTI",
    title="Captioned shapes and their edges, FID against the images made from uncompressed features",
    mirrors="ctti-coco-canny",
    backbone=Backbone(adapter="sd3-controlnet", source="builder:mini-ctti-shapes", options=_OPTIONS),
    splits=(),
    tensors=(
        *_text("positive"),
        *_text("negative"),
        TensorSpec(name="vae_encoder.0", role="latent", shape=(32, 8, 8), dtype="float16"),
        TensorSpec(name="vae_encoder.1", role="latent", shape=(32, 8, 8), dtype="float16"),
    ),
    side=("seed",),
    prediction="image",
    metric="fid",
    metric_options={"features": "shapes"},
    direction="down",
    batch_size=8,
    test_samples=200,
    calibration_samples=64,
    licence="Apache-2.0 (generated)",
    builder="mini-ctti-shapes",
    description="The negative prompt is empty, so its tensors are the same for every sample, as with any fixed one.",
)

MINI_CTTI_SHAPES_LATENT = MINI_CTTI_SHAPES.model_copy(
    update={
        "id": "mini-ctti-shapes-latent",
        "title": f"{MINI_CTTI_SHAPES.title}; split before the decoder",
        "mirrors": "ctti-coco-canny-latent",
        "variant_of": MINI_CTTI_SHAPES.id,
        "backbone": MINI_CTTI_SHAPES.backbone.model_copy(
            update={"source": "builder:mini-ctti-shapes-latent", "options": {**_OPTIONS, "mode": "latent"}}
        ),
        "tensors": (TensorSpec(name="latent", role="latent", shape=(16, 8, 8), dtype="float16"),),
        "side": (),
        "batch_size": 40,
        "builder": "mini-ctti-shapes-latent",
        "description": "",
    }
)
