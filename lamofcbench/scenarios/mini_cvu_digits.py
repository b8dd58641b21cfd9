"""`mini-cvu-digits`: handwritten digits, a small DINOv3 ViT with its linear head; mirrors ``cvu-imagenet-val``.

The variant mirrors its variant, the split after an early block.
"""

from __future__ import annotations

from lamofcbench.scenarios._cvu import shallow_variant
from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

_TOKENS = Axis(name="tokens", limit=128)  # every sample has 41
SHALLOW = 1
SHALLOW_STANDS_FOR = "Level 1 of 8 blocks stands for 9 of 40; the tail runs the other six blocks and the head."

MINI_CVU_DIGITS = Scenario(
    id="mini-cvu-digits",
    version=2,
    edition="mini",
    category="CVU",
    title="Handwritten digits, top-1 accuracy",
    mirrors="cvu-imagenet-val",
    backbone=Backbone(
        adapter="dinov3-vit",
        source="builder:mini-cvu-digits",
        options={"image_size": 24, "head": "linear", "classes": 10},
    ),
    splits=(7,),
    tensors=(TensorSpec(name="block.7", role="hidden", shape=(_TOKENS, 96), dtype="float32"),),
    prediction="label",
    metric="accuracy",
    direction="up",
    batch_size=64,
    test_samples=650,
    calibration_samples=150,
    licence="CC BY 4.0 (UCI optical recognition of handwritten digits, as scikit-learn carries them)",
    builder="mini-cvu-digits",
    description="Level 7 of 8 blocks stands for 39 of 40.",
)

MINI_CVU_DIGITS_SHALLOW = shallow_variant(
    MINI_CVU_DIGITS,
    SHALLOW,
    mirrors="cvu-imagenet-val-shallow",
    source="builder:mini-cvu-digits-shallow",
    builder="mini-cvu-digits-shallow",
    description=SHALLOW_STANDS_FOR,
)
