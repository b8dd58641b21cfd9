"""`mini-cvu-digits-renditions`: digits inverted, textured, sketched or turned; mirrors ``cvu-imagenet-r``."""

from __future__ import annotations

from lamofcbench.scenarios._cvu import shallow_variant
from lamofcbench.scenarios.base import Scenario
from lamofcbench.scenarios.mini_cvu_digits import MINI_CVU_DIGITS, SHALLOW, SHALLOW_STANDS_FOR

MINI_CVU_DIGITS_RENDITIONS = Scenario.model_validate(
    {
        **MINI_CVU_DIGITS.model_dump(),
        "id": "mini-cvu-digits-renditions",
        "title": "Renditions of handwritten digits, top-1 accuracy over 8 classes",
        "mirrors": "cvu-imagenet-r",
        "backbone": {
            "adapter": "dinov3-vit",
            "source": "builder:mini-cvu-digits-renditions",
            "options": {
                **MINI_CVU_DIGITS.backbone.options,
                "class_subset": "rendered digits",
                "class_indices": list(range(8)),
            },
        },
        "test_samples": 605,
        "calibration_samples": 122,
        "builder": "mini-cvu-digits-renditions",
        "description": (
            "Each held-out digit from 0 to 7 once, inverted, on a texture, as an outline, or turned by 28 degrees. "
            "Logits are masked to these labels."
        ),
    }
)

MINI_CVU_DIGITS_RENDITIONS_SHALLOW = shallow_variant(
    MINI_CVU_DIGITS_RENDITIONS,
    SHALLOW,
    mirrors="cvu-imagenet-r-shallow",
    source="builder:mini-cvu-digits-renditions-shallow",
    builder="mini-cvu-digits-renditions-shallow",
    description=f"{MINI_CVU_DIGITS_RENDITIONS.description} {SHALLOW_STANDS_FOR}",
)
