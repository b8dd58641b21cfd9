"""`mini-cvu-digits-hard`: digits on which a nearest-mean classifier fails; mirrors ``cvu-imagenet-a``."""

from __future__ import annotations

from lamofcbench.scenarios._cvu import shallow_variant
from lamofcbench.scenarios.base import Scenario
from lamofcbench.scenarios.mini_cvu_digits import MINI_CVU_DIGITS, SHALLOW, SHALLOW_STANDS_FOR

MINI_CVU_DIGITS_HARD = Scenario.model_validate(
    {
        **MINI_CVU_DIGITS.model_dump(),
        "id": "mini-cvu-digits-hard",
        "title": "Handwritten digits that a simple classifier mistakes, top-1 accuracy over 8 classes",
        "mirrors": "cvu-imagenet-a",
        "backbone": {
            "adapter": "dinov3-vit",
            "source": "builder:mini-cvu-digits-hard",
            "options": {
                **MINI_CVU_DIGITS.backbone.options,
                "class_subset": "hard digits",
                "class_indices": [1, 2, 3, 4, 5, 7, 8, 9],
            },
        },
        "test_samples": 70,
        "calibration_samples": 40,
        "builder": "mini-cvu-digits-hard",
        "description": (
            "Held-out digits that the nearest class mean of the pixels, fitted on the training digits, mistakes; "
            "labels of which it mistakes fewer than two training digits are left out. Logits are masked to the others."
        ),
    }
)

MINI_CVU_DIGITS_HARD_SHALLOW = shallow_variant(
    MINI_CVU_DIGITS_HARD,
    SHALLOW,
    mirrors="cvu-imagenet-a-shallow",
    source="builder:mini-cvu-digits-hard-shallow",
    builder="mini-cvu-digits-hard-shallow",
    description=f"{MINI_CVU_DIGITS_HARD.description} {SHALLOW_STANDS_FOR}",
)
