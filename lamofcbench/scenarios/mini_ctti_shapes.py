"""`mini-ctti-shapes`: captioned shapes drawn along edges by a small Stable Diffusion 3.5 pipeline with its ControlNet.

Mirrors ``ctti-coco-canny``; the variant mirrors its variant, the split before the VAE's decoder.
"""

from __future__ import annotations

from typing import Any

from lamofcbench.scenarios._ctti import condition_tensors, latent_variant
from lamofcbench.scenarios.base import Backbone, Scenario

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
    tensors=condition_tensors(tokens=12, clip_l=32, clip_g=48, t5=96, latent_side=8),
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

MINI_CTTI_SHAPES_LATENT = latent_variant(
    MINI_CTTI_SHAPES,
    latent_side=8,
    mirrors="ctti-coco-canny-latent",
    source="builder:mini-ctti-shapes-latent",
    batch_size=40,
    builder="mini-ctti-shapes-latent",
    description="",
)
