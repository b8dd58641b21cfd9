"""`mini-cvu-depth`: drawn scenes, a small DINOv3 ViT, a depth head on four levels; mirrors ``cvu-nyuv2``."""

from __future__ import annotations

from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

_TOKENS = Axis(name="tokens", limit=192)  # every sample has 69
_LEVELS = (1, 3, 5, 7)

MINI_CVU_DEPTH = Scenario(
    id="mini-cvu-depth",
    version=1,
    edition="mini",
    category="CVU",
    title="Scenes of digit cards and solids, depth estimation, RMSE",
    mirrors="cvu-nyuv2",
    backbone=Backbone(
        adapter="dinov3-vit",
        source="builder:mini-cvu-depth",
        options={
            "head": "dpt",
            "image_size": 32,
            "scales": [2, 1, 0.5, 0.25],
            "min_depth": 0.5,
            "max_depth": 10.0,
        },
    ),
    splits=_LEVELS,
    tensors=tuple(
        TensorSpec(name=f"block.{level}", role="hidden", shape=(2, _TOKENS, 96), dtype="float32") for level in _LEVELS
    ),
    side=("height", "width"),
    prediction="map",
    metric="depth-rmse",
    direction="down",
    batch_size=16,
    test_samples=200,
    calibration_samples=64,
    licence="CC BY 4.0 (UCI optical recognition of handwritten digits, as scikit-learn carries them)",
    builder="mini-cvu-depth",
    description=(
        "Levels 1, 3, 5 and 7 of 8 blocks stand for 9, 19, 29 and 39 of 40. The leading axis holds the image and its "
        "flip; predictions are averaged after flipping back."
    ),
)
