"""Controllable text to image: Stable Diffusion 3.5 Large with its Canny ControlNet (arXiv 2605.24025).

The track is the `condition` mode: text embeddings of the positive, then of the negative prompt, and the VAE encoder's
output of the control image, once for each half of classifier-free guidance. Its variant is the `latent` mode, split a
second time before the VAE's decoder.

The ControlNet's model card gives its VAE encoder the edges at 127.5 x + 0.5 for x from 0 to 1, not at 2 x - 1.
"""

from __future__ import annotations

from typing import Any

from lamofcbench.scenarios.base import Backbone, Scenario, TensorSpec


def _text(prompt: str) -> tuple[TensorSpec, ...]:
    sizes = (
        ("clip_l.pooled", "pooled", (768,)),
        ("clip_l.hidden", "embedding", (77, 768)),
        ("clip_g.pooled", "pooled", (1280,)),
        ("clip_g.hidden", "embedding", (77, 1280)),
        ("t5.hidden", "embedding", (77, 4096)),
    )
    return tuple(
        TensorSpec(name=f"{name}.{prompt}", role=role, shape=shape, dtype="float16") for name, role, shape in sizes
    )


_OPTIONS: dict[str, Any] = {
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
    version=1,
    edition="full",
    category="CTTI",
    title="COCO captions and Canny edges, FID against the images made from uncompressed features",
    backbone=Backbone(
        adapter="sd3-controlnet",
        source="stabilityai/stable-diffusion-3.5-large",
        options=_OPTIONS,
    ),
    splits=(),
    tensors=(
        *_text("positive"),
        *_text("negative"),
        TensorSpec(name="vae_encoder.0", role="latent", shape=(32, 128, 128), dtype="float16"),
        TensorSpec(name="vae_encoder.1", role="latent", shape=(32, 128, 128), dtype="float16"),
    ),
    side=("seed",),
    prediction="image",
    metric="fid",
    metric_options={"features": "inception"},
    direction="down",
    batch_size=1,
    test_samples=100,
    calibration_samples=50,
    licence="CC BY 4.0 (captions); Stability AI Community License (backbone)",
)

CTTI_COCO_CANNY_LATENT = CTTI_COCO_CANNY.model_copy(
    update={
        "id": "ctti-coco-canny-latent",
        "title": f"{CTTI_COCO_CANNY.title}; split before the decoder",
        "variant_of": CTTI_COCO_CANNY.id,
        "backbone": CTTI_COCO_CANNY.backbone.model_copy(update={"options": {**_OPTIONS, "mode": "latent"}}),
        "tensors": (TensorSpec(name="latent", role="latent", shape=(16, 128, 128), dtype="float16"),),
        "side": (),
    }
)
