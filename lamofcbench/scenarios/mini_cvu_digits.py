"""`mini-cvu-digits`: handwritten digits, a small DINOv3 ViT with its linear head; mirrors ``cvu-imagenet-val``."""

from __future__ import annotations

from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

_TOKENS = Axis(name="tokens", limit=128)  # every sample has 41

MINI_CVU_DIGITS = Scenario(
    id="mini-cvu-digits",
    version=1,
    edition="mini",
    category="CVU",
    title="Handwritten digits, top-1 accuracy",
    mirrors="cvu-imagenet-val",
    backbone=Backbone(
        adapter="dinov3-vit",
        source="builder:mini-cvu-digits",
        options={"image_size": 24, "head": "linear", "classes": 10},
    ),
    splits=(1, 7),
    tensors=(
        TensorSpec(
            name="block.1",
            role="hidden",
            shape=(_TOKENS, 96),
            dtype="float32",
            dead="the linear head reads the last block only; this level counts in the rate as in the full scenario",
        ),
        TensorSpec(name="block.7", role="hidden", shape=(_TOKENS, 96), dtype="float32"),
    ),
    prediction="label",
    metric="accuracy",
    direction="up",
    batch_size=64,
    test_samples=650,
    calibration_samples=150,
    licence="CC BY 4.0 (UCI optical recognition of handwritten digits, as scikit-learn carries them)",
    builder="mini-cvu-digits",
    description="Levels 1 and 7 of 8 blocks stand for 9 and 39 of 40.",
)
