"""Controllable text to image: Stable Diffusion 3.5 Large with its Canny ControlNet (arXiv 2605.24025).

The track is the `condition` mode: text embeddings of the positive, then of the negative prompt, and the VAE encoder's
output of the control image, once for each half of classifier-free guidance. Its variant is the `latent` mode, split a
second time before the VAE's decoder, where the published features are the latents as the denoising loop leaves them:
scaling and shift, which make them the decoder's input, belong to the tail.

The ControlNet's model card gives its VAE encoder the edges at 127.5 x + 0.5 for x from 0 to 1, not at 2 x - 1.
"""

from __future__ import annotations

from typing import Any

from lamofcbench.scenarios._ctti import condition_tensors, latent_variant
from lamofcbench.scenarios.base import Backbone, Scenario

_OPTIONS: dict[str, Any] = {
    "compute_dtype": "float16",
    "controlnet": "stabilityai/stable-diffusion-3.5-large-controlnet-canny",
    "height": 1024,
    "width": 1024,
    "num_inference_steps": 60,
    "guidance_scale": 3.5,
    "control_gain": 127.5,
    "control_offset": 0.5,
}

CTTI_COCO_CANNY = Scenario(
    id="ctti-coco-canny",
    version=2,  # version 1 gave the network of the FID images of full size
    edition="full",
    category="CTTI",
    title="COCO captions and Canny edges, FID against the images made from uncompressed features",
    backbone=Backbone(
        adapter="sd3-controlnet",
        source="stabilityai/stable-diffusion-3.5-large",
        revision="ceddf0a7fdf2064ea28e2213e3b84e4afa170a0f",
        options=_OPTIONS,
    ),
    splits=(),
    tensors=condition_tensors(tokens=77, clip_l=768, clip_g=1280, t5=4096, latent_side=128),
    side=("seed",),
    prediction="image",
    metric="fid",
    metric_options={"features": "inception", "side": 299},
    direction="down",
    batch_size=1,
    test_samples=100,
    calibration_samples=50,
    licence="CC BY 4.0 (captions); Stability AI Community License (backbone)",
)

CTTI_COCO_CANNY_LATENT = latent_variant(CTTI_COCO_CANNY, latent_side=128, version=3)
