"""`mini-cvu-digits-renditions`: digits inverted, textured, sketched or turned; mirrors `cvu-imagenet-r`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataset_builders.mini._sampling import between
from dataset_builders.mini.digits.clean import DigitsBuilder
from dataset_builders.mini.digits.plan import IMAGE_SIDE, Digit, digits_plan, enlarge, to_rgb
from lamofcbench.builders import Sample, Split

LABELS = tuple(range(8))
"""The track has eight of the ten labels, as ImageNet-R has 200 of ImageNet's 1000 classes."""
GRAINS = (6, 12)  # points along a side of the textures
TURN = (15 / 17, 8 / 17)  # cosine and sine of 28 degrees, exact fractions

Image = NDArray[np.uint8]


class DigitRenditionsBuilder(DigitsBuilder):
    """Digits rendered otherwise: inputs are a uint8 [24, 24, 3] image, the reference is the label."""

    name: ClassVar[str] = "mini-cvu-digits-renditions"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Returns one rendition of each held-out (test) or calibration digit of the track's labels, in hash order."""
        plan = digits_plan()
        digits = plan.held_out if split == "test" else plan.calibration
        return [rendition(digit) for digit in digits if digit.label in LABELS]

    def fresh_samples(self, seed: int) -> Iterator[Sample]:
        """Returns other renditions of the held-out digits, in the test split's order."""
        for digit in digits_plan().held_out:
            if digit.label in LABELS:
                yield rendition(digit, f"/fresh {seed}")


class ShallowDigitRenditionsBuilder(DigitRenditionsBuilder):
    """The same samples, for the split after an early block."""

    name: ClassVar[str] = "mini-cvu-digits-renditions-shallow"


def rendition(digit: Digit, draw: str = "") -> Sample:
    """Returns a digit in the way that its hash decides, or its hash and a further draw."""
    source = random.Random(f"mini-cvu-digits-renditions/{digit.hash}{draw}")
    kind = source.choice(sorted(RENDERERS))
    image = RENDERERS[kind](enlarge(digit.pixels), source)
    return Sample(id=f"{kind}-{digit.hash[:12]}", inputs=to_rgb(image), reference=digit.label)


def inverted(image: Image, source: random.Random) -> Image:
    """Returns light paper and dark ink exchanged; uint8 [24, 24] both ways, 255 is ink."""
    return 255 - image


def textured(image: Image, source: random.Random) -> Image:
    """Returns the digit on a blotchy ground."""
    place = (np.arange(IMAGE_SIDE) + 0.5) / IMAGE_SIDE
    ground = np.zeros((IMAGE_SIDE, IMAGE_SIDE))
    share = source.random()
    for grain, weight in zip(GRAINS, (share, 1 - share), strict=True):
        values = np.frombuffer(source.randbytes(grain * grain), np.uint8).reshape(grain, grain) / 255
        row, column = np.meshgrid(place * grain - 0.5, place * grain - 0.5, indexing="ij")
        ground += weight * between(values, row, column)
    return _rounded(image + (255 - image) * ground * source.uniform(0.2, 0.6))


def sketched(image: Image, source: random.Random) -> Image:
    """Returns the edges of the strokes."""
    padded = np.pad(image.astype(np.float64), 1, mode="edge")
    across, down = padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]
    return _rounded(2 * np.sqrt(across * across + down * down))


def turned(image: Image, source: random.Random) -> Image:
    """Returns the digit turned by 28 degrees to one side or the other."""
    cosine, sine = TURN
    sine *= source.choice((-1, 1))
    middle = (IMAGE_SIDE - 1) / 2
    down, across = np.meshgrid(np.arange(IMAGE_SIDE) - middle, np.arange(IMAGE_SIDE) - middle, indexing="ij")
    padded = np.pad(image.astype(np.float64), 1)  # paper all around
    row, column = middle + cosine * down - sine * across, middle + sine * down + cosine * across
    return _rounded(between(padded, row + 1, column + 1))


def _rounded(values: NDArray[np.float64]) -> Image:
    rounded: Image = np.rint(values.clip(0, 255)).astype(np.uint8)
    return rounded


RENDERERS: dict[str, Callable[[Image, random.Random], Image]] = {
    "inverted": inverted,
    "sketched": sketched,
    "textured": textured,
    "turned": turned,
}
