"""`mini-cvu-scenes`: drawn scenes, a small DINOv3 ViT, a segmentation head on four levels; mirrors ``cvu-ade20k``."""

from __future__ import annotations

from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

_CROPS = Axis(name="crops", limit=8)  # the widest sample has 3
_TOKENS = Axis(name="tokens", limit=192)  # every window has 69
_LEVELS = (1, 3, 5, 7)

MINI_CVU_SCENES = Scenario(
    id="mini-cvu-scenes",
    version=1,
    edition="mini",
    category="CVU",
    title="Scenes of digit cards and solids, semantic segmentation, mean IoU",
    mirrors="cvu-ade20k",
    backbone=Backbone(
        adapter="dinov3-vit",
        source="builder:mini-cvu-scenes",
        options={"head": "mask2former", "classes": 12, "crop_size": 32, "stride": 16},
    ),
    splits=_LEVELS,
    tensors=tuple(
        TensorSpec(name=f"block.{level}", role="hidden", shape=(_CROPS, _TOKENS, 96), dtype="float32")
        for level in _LEVELS
    ),
    side=("height", "width"),
    prediction="mask",
    metric="mean-iou",
    metric_options={"num_classes": 12, "reduce_zero_label": True},
    direction="up",
    batch_size=16,
    test_samples=200,
    calibration_samples=64,
    licence="CC BY 4.0 (UCI optical recognition of handwritten digits, as scikit-learn carries them)",
    builder="mini-cvu-scenes",
    description=(
        "Levels 1, 3, 5 and 7 of 8 blocks stand for 9, 19, 29 and 39 of 40; axis crops counts the sliding windows. "
        "Unlike the published segmenter, whose adapter also looks at the image, this one's head sees the features "
        "alone, so its tail does not need the raw input."
    ),
)
