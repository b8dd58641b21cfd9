"""Common vision understanding: DINOv3 ViT-7B/16 features under classification, segmentation and depth heads.

Classification takes the output of block 39, its variants that of block 9; dense prediction takes those of blocks 9, 19,
29 and 39 (arXiv 2605.24025).
"""

from __future__ import annotations

from typing import Any

from lamofcbench.scenarios._cvu import shallow_variant
from lamofcbench.scenarios.base import Axis, Backbone, GivenSpec, Scenario, TensorSpec

_WIDTH = 4096
# Every published sample has the tokens that its image size makes: 5 + 32 x 32, 5 + 56 x 56 and 5 + 48 x 64. Images of
# ADE20K have at most three windows in the published files.
_CLASSIFIED = Axis(name="tokens", limit=2048)
_DENSE = Axis(name="tokens", limit=8192)
_CROPS = Axis(name="crops", limit=8)
_ROWS, _COLUMNS = (Axis(name=name, limit=8192) for name in ("rows", "columns"))
_SOURCE = "facebook/dinov3-vit7b16-pretrain-lvd1689m"
_SHALLOW = 9


def _blocks(*levels: int, tokens: Axis, leading: tuple[int | Axis, ...] = ()) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=f"block.{level}", role="hidden", shape=(*leading, tokens, _WIDTH), dtype="float32")
        for level in levels
    )


def _classification(id: str, title: str, licence: str, class_subset: str | None = None) -> Scenario:
    options: dict[str, Any] = {
        "image_size": 512,
        "resize": "centre-square",
        "head": "linear",
        "head_file": "dinov3_vit7b16_imagenet1k_linear_head-90d8ed92.pth",
        "classes": 1000,
    }
    if class_subset is not None:
        options["class_subset"] = class_subset
    return Scenario(
        id=id,
        version=3,
        edition="full",
        category="CVU",
        title=title,
        backbone=Backbone(adapter="dinov3-vit", source=_SOURCE, options=options),
        splits=(39,),
        tensors=_blocks(39, tokens=_CLASSIFIED),
        prediction="label",
        metric="accuracy",
        direction="up",
        batch_size=8,
        test_samples=100,
        calibration_samples=50,
        licence=licence,
    )


CVU_IMAGENET_VAL = _classification(
    "cvu-imagenet-val", "ImageNet-1k validation, top-1 accuracy", "ImageNet terms of access; DINOv3 licence (backbone)"
)
CVU_IMAGENET_A = _classification(
    "cvu-imagenet-a",
    "ImageNet-A, top-1 accuracy over its 200 classes",
    "terms of ImageNet-A; DINOv3 licence (backbone)",
    class_subset="imagenet-a",
)
CVU_IMAGENET_R = _classification(
    "cvu-imagenet-r",
    "ImageNet-R, top-1 accuracy over its 200 classes",
    "terms of ImageNet-R; DINOv3 licence (backbone)",
    class_subset="imagenet-r",
)

CVU_IMAGENET_VAL_SHALLOW = shallow_variant(CVU_IMAGENET_VAL, _SHALLOW, version=2)
CVU_IMAGENET_A_SHALLOW = shallow_variant(CVU_IMAGENET_A, _SHALLOW, version=2)
CVU_IMAGENET_R_SHALLOW = shallow_variant(CVU_IMAGENET_R, _SHALLOW, version=2)

CVU_ADE20K = Scenario(
    id="cvu-ade20k",
    version=2,
    edition="full",
    category="CVU",
    title="ADE20K validation, semantic segmentation, mean IoU",
    backbone=Backbone(
        adapter="dinov3-vit",
        source=_SOURCE,
        options={
            "head": "dinov3-segmentor",
            "classes": 150,
            "crop_size": 896,
            "stride": 596,
            "backbone_autocast": "bfloat16",
            "score_dtype": "bfloat16",
        },
    ),
    splits=(9, 19, 29, 39),
    tensors=_blocks(9, 19, 29, 39, tokens=_DENSE, leading=(_CROPS,)),
    side=("height", "width"),
    given=(GivenSpec(name="image", shape=(_ROWS, _COLUMNS, 3), dtype="uint8"),),
    prediction="mask",
    metric="mean-iou",
    metric_options={"num_classes": 150, "reduce_zero_label": True},
    direction="up",
    batch_size=1,
    test_samples=100,
    calibration_samples=50,
    licence="terms of ADE20K; DINOv3 licence (backbone)",
    needs_raw_input=True,
    description=(
        "Axis crops counts the sliding-window crops. The published segmenter's adapter also looks at the image, so its "
        "tail needs the raw input beside the features: the dataset holds the image as a given tensor, which no codec "
        "sees and no rate counts."
    ),
)

CVU_NYUV2 = Scenario(
    id="cvu-nyuv2",
    version=2,
    edition="full",
    category="CVU",
    title="NYUv2 test, depth estimation, RMSE",
    backbone=Backbone(adapter="dinov3-vit", source=_SOURCE, options={"head": "dinov3-dpt", "image_size": [768, 1024]}),
    splits=(9, 19, 29, 39),
    tensors=_blocks(9, 19, 29, 39, tokens=_DENSE, leading=(2,)),
    side=("height", "width"),
    prediction="map",
    metric="depth-rmse",
    metric_options={
        "max_judged": False,
        "crop": "eigen",
        "align": "scale-and-shift",
        "clip": False,
        "average": "images",
    },
    direction="down",
    batch_size=1,
    test_samples=100,
    calibration_samples=50,
    licence="terms of NYU Depth v2; DINOv3 licence (backbone)",
    description="The leading axis holds the image and its flip; predictions are averaged after flipping back.",
)
