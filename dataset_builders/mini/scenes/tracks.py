"""`mini-cvu-scenes` and `mini-cvu-depth`: drawn scenes with their masks and depth maps.

A track's scenes are drawn by a generator of its own, seeded with track, split and number. Their cards hold held-out
digits in the test split and calibration digits in the calibration split; the model was trained on neither.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cache
from typing import ClassVar

import numpy as np

from dataset_builders.mini._builder import MiniBuilder
from dataset_builders.mini.scenes.generator import HEIGHT, Scene, digit_pool, draw_scene
from lamofcbench.builders import Sample, Split
from lamofcbench.rasters import decode_map, decode_png, encode_map, encode_mask

COUNTS: dict[Split, int] = {"test": 200, "calibration": 64}
DIGIT_PARTS: dict[Split, str] = {"test": "held_out", "calibration": "calibration"}


class _ScenesTrack(MiniBuilder):
    """A track of drawn scenes.

    Attributes:
        widths: of the images, in pixels; each scene has one of them.
    """

    model_name: ClassVar[str] = "scenes-vit"
    widths: ClassVar[tuple[int, ...]]

    def samples(self, split: Split) -> Sequence[Sample]:
        """Returns the samples; a sample's inputs are a uint8 [32, W, 3] image."""
        return [self._sample(scene) for scene in track_scenes(self.name, split, self.widths)]

    def fresh_samples(self, seed: int) -> Iterator[Sample]:
        """Returns new scenes, whose cards hold held-out digits."""
        for number in itertools.count():
            yield self._sample(_drawn(f"{self.name}/fresh {seed}/{number}", "test", self.widths))

    def _sample(self, scene: Scene) -> Sample:
        return Sample(id=f"scene-{_hash(scene.image)[:12]}", inputs=scene.image, reference=self.reference(scene))

    def content_hash(self, sample: Sample) -> str:
        """Returns the hex sha256 of the image's size and bytes, which are the same on every machine."""
        return _hash(sample.inputs)

    @abstractmethod
    def reference(self, scene: Scene) -> bytes:
        """Returns what predictions are compared with, encoded."""


class ScenesBuilder(_ScenesTrack):
    """Segmentation: images one to two windows wide; the reference is a PNG of labels, 0 for what is not judged."""

    name: ClassVar[str] = "mini-cvu-scenes"
    widths: ClassVar[tuple[int, ...]] = (32, 40, 48, 56, 64)

    def reference(self, scene: Scene) -> bytes:
        """Returns the mask."""
        return encode_mask(scene.mask)

    def reference_digest(self, sample: Sample) -> str:
        """Returns a hash of the labels, because their compression may differ between machines."""
        return _hash(decode_png(encoded(sample)))


class DepthBuilder(_ScenesTrack):
    """Depth: square images; the reference is a compressed map of metres."""

    name: ClassVar[str] = "mini-cvu-depth"
    widths: ClassVar[tuple[int, ...]] = (HEIGHT,)

    def reference(self, scene: Scene) -> bytes:
        """Returns the depth map."""
        return encode_map(scene.depth)

    def reference_digest(self, sample: Sample) -> str:
        """Returns a hash of the depths, because their compression may differ between machines."""
        return _hash(decode_map(encoded(sample)))


@cache
def track_scenes(track: str, split: Split, widths: tuple[int, ...]) -> tuple[Scene, ...]:
    """Returns the scenes of a track's split, in their fixed order."""
    return tuple(_drawn(f"{track}/{split}/{number}", split, widths) for number in range(COUNTS[split]))


def _drawn(seed: str, split: Split, widths: tuple[int, ...]) -> Scene:
    source = random.Random(seed)
    return draw_scene(source, digit_pool(DIGIT_PARTS[split]), source.choice(widths))


def _hash(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.shape}".encode() + array.tobytes()).hexdigest()


def encoded(sample: Sample) -> bytes:
    """Returns a sample's reference."""
    assert isinstance(sample.reference, bytes)
    return sample.reference
