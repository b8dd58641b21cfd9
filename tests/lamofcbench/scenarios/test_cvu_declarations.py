"""The full vision scenarios state what their heads need, in options that the heads know."""

from __future__ import annotations

import pytest

from lamofcbench.models.loading import parse_options
from lamofcbench.models.vision_heads.base import HEADS, VisionOptions
from lamofcbench.models.vision_heads.linear import LinearOptions
from lamofcbench.scenarios.base import SCENARIOS

VISION = [s.id for s in SCENARIOS if s.edition == "full" and s.category == "CVU"]


def options_of(id: str) -> VisionOptions:
    scenario = SCENARIOS.get(id)
    return parse_options(HEADS.get(scenario.backbone.options["head"]).Options, scenario)


@pytest.mark.parametrize("id", VISION)
def test_options_are_those_of_the_head(id: str) -> None:
    assert options_of(id).compute_dtype == "float32"


@pytest.mark.parametrize("id", [id for id in VISION if "imagenet" in id])
def test_classification_sees_the_middle_square_of_512_pixels(id: str) -> None:
    options = options_of(id)
    assert isinstance(options, LinearOptions)
    assert (options.size, options.resize, options.classes) == ((512, 512), "centre-square", 1000)
    assert options.class_subset == (None if "val" in id else id.removeprefix("cvu-").removesuffix("-shallow"))
