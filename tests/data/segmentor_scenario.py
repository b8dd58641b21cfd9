"""`cvu-ade20k` on a small random model: the file lies in a folder that has the model's files in ``weights``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from dataset_builders.base import Builder
from lamofcbench.builders import Sample, Split
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.rasters import encode_mask
from lamofcbench.scenarios.base import SCENARIOS

WIDTH, CLASSES = 32, 5
LEVELS = (0, 2, 4, 5)
SAMPLES = {"test": 3, "calibration": 2}

_FULL = SCENARIOS.get("cvu-ade20k")
_SMALL_OPTIONS = {"classes": CLASSES, "crop_size": 64, "stride": 40, "attention_heads": 8, "head_file": "head.pth"}

SEGMENTOR = _FULL.model_copy(
    update={
        "id": "user-segmentor",
        "edition": "user",
        "backbone": _FULL.backbone.model_copy(
            update={"source": "./weights", "options": {**_FULL.backbone.options, **_SMALL_OPTIONS}}
        ),
        "splits": LEVELS,
        "tensors": tuple(
            spec.model_copy(update={"name": f"block.{level}", "shape": (*spec.shape[:2], WIDTH)})
            for spec, level in zip(_FULL.tensors, LEVELS, strict=True)
        ),
        "metric_options": {"num_classes": CLASSES, "reduce_zero_label": True},
        "test_samples": SAMPLES["test"],
        "calibration_samples": SAMPLES["calibration"],
        "builder": ":SegmentorBuilder",
    }
)


class SegmentorBuilder(Builder):
    """Random pictures; their reference is what the model itself sees in them, with ADE20K's zero label."""

    name = "user-segmentor"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Pictures of one window and of two."""
        source = np.random.default_rng(split == "test")
        sizes = [(64, 64 + 30 * number, 3) for number in range(SAMPLES[split])]
        pictures = [source.integers(0, 256, size, dtype=np.uint8) for size in sizes]
        return [Sample(f"{split}-{number}", picture, b"") for number, picture in enumerate(pictures)]

    def content_hash(self, sample: Sample) -> str:
        """Of the picture."""
        return hashlib.sha256(sample.inputs.tobytes()).hexdigest()

    def revision(self) -> str:
        """Constant: the test makes everything anew."""
        return "0"

    def references(self, model: SplitModel, batch: Sequence[Sample], features: Sequence[FeatureSet]) -> list[bytes]:
        """The masks of uncoded features."""
        return [encode_mask(mask + 1) for mask in model.tail(features)]
