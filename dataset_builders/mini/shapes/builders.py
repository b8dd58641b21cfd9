"""`mini-ctti-shapes` and its variant split before the decoder: captions and edges; mirrors `ctti-coco-canny`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

from dataset_builders.mini._builder import MiniBuilder
from dataset_builders.mini.shapes.edges import edge_image
from dataset_builders.mini.shapes.scenes import Scene, draw, scenes
from lamofcbench.builders import Sample, Split
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.models.sd3 import ControlledPrompt
from lamofcbench.rasters import encode_image

COUNTS: dict[Split, int] = {"test": 200, "calibration": 64}


class ShapesBuilder(MiniBuilder):
    """A sample's inputs are a caption and the edges of a picture that fits it; the picture itself is not used.

    The reference is the image that the model makes of the stored features, uncoded.
    """

    name: ClassVar[str] = "mini-ctti-shapes"
    model_name: ClassVar[str] = "shapes-sd3"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Returns the first pictures that the rule deals to the split, as captions and edges, each with a seed."""
        unique: dict[str, Sample] = {}
        for scene in scenes(split):
            sample = sample_of(scene, seed=len(unique))
            unique.setdefault(sample.id, sample)
            if len(unique) == COUNTS[split]:
                break
        return list(unique.values())

    def fresh_samples(self, seed: int) -> Iterator[Sample]:
        """Returns further pictures that the rule deals to the test split."""
        for number, scene in enumerate(scenes("test", seed=seed + 1)):  # 0 draws the test split itself
            yield sample_of(scene, seed=number)

    def content_hash(self, sample: Sample) -> str:
        """Returns the hex sha256 of the caption and the edges."""
        inputs: ControlledPrompt = sample.inputs
        return hashlib.sha256(inputs.prompt.encode() + b"\n" + inputs.control_image.tobytes()).hexdigest()

    def references(
        self, model: SplitModel, batch: Sequence[Sample], features: Sequence[FeatureSet]
    ) -> Sequence[str | int | float | bytes]:
        """Returns the images of the uncoded features as PNG, made in the batches of a run."""
        return [encode_image(image) for image in model.tail(features)]


class ShapesLatentBuilder(ShapesBuilder):
    """The same samples, for the split before the decoder."""

    name: ClassVar[str] = "mini-ctti-shapes-latent"
    version: ClassVar[int] = 2  # 1 stored the latents after scaling and shift


def sample_of(scene: Scene, seed: int) -> Sample:
    """Returns a picture's caption and edges as a sample, whose reference is made when the data are built."""
    edges = edge_image(draw(scene))
    edges.setflags(write=False)
    identity = hashlib.sha256(scene.caption.encode() + edges.tobytes()).hexdigest()
    return Sample(id=f"shapes-{identity[:12]}", inputs=ControlledPrompt(scene.caption, "", edges, seed), reference=b"")
