"""How scikit-learn's handwritten digits are dealt once and for all, for every mini track that uses them.

The rule: images with equal pixels count once; the images are sorted by the sha256 of their pixel bytes; the first 900
train the classifier, the next 150 are the calibration split, the rest is held out. Tracks (the clean digits, a hard
subset, renditions) choose their test samples among the held-out ones and calibrate on the calibration ones. Since every
track deals digits by this plan, a digit that trains the classifier is in no track's test split, however it is rendered.
"""

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

TRAINING_COUNT = 900
CALIBRATION_COUNT = 150
SIDE = 8  # pixels of a digit as scikit-learn carries it
LARGEST_VALUE = 16
IMAGE_SIDE = 24  # pixels of a model's input: few tokens, so that a CPU trains on them in minutes


@dataclass(frozen=True)
class Digit:
    """One handwritten digit.

    Attributes:
        pixels: uint8 [8, 8], 0 (paper) to 16 (ink), read-only.
        label: the digit, 0 to 9.
        hash: hex sha256 of the 64 pixel bytes.
    """

    pixels: NDArray[np.uint8]
    label: int
    hash: str


@dataclass(frozen=True)
class DigitsPlan:
    """The digits of each part, in hash order; no hash stands in two parts."""

    training: tuple[Digit, ...]
    calibration: tuple[Digit, ...]
    held_out: tuple[Digit, ...]


def pixel_hash(pixels: NDArray[np.uint8]) -> str:
    """Returns the hex sha256 of a digit's 64 pixel bytes, row by row."""
    return hashlib.sha256(np.ascontiguousarray(pixels, dtype=np.uint8).tobytes()).hexdigest()


@cache
def digits_plan() -> DigitsPlan:
    """Returns the plan; it depends on the pixels alone, not on their order in the library's file."""
    from sklearn.datasets import load_digits

    data = load_digits()
    unique: dict[str, Digit] = {}
    for image, label in zip(data.images, data.target, strict=True):
        pixels = image.astype(np.uint8)
        pixels.setflags(write=False)
        digit = Digit(pixels, int(label), pixel_hash(pixels))
        unique.setdefault(digit.hash, digit)
    ordered = tuple(unique[key] for key in sorted(unique))
    end = TRAINING_COUNT + CALIBRATION_COUNT
    return DigitsPlan(ordered[:TRAINING_COUNT], ordered[TRAINING_COUNT:end], ordered[end:])


def enlarge(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a digit at a model's input size: uint8 [24, 24], 0 (paper) to 255 (ink).

    Bilinear, with pixel centres aligned and the border repeated, in integer arithmetic: every machine gets the same
    bytes.

    Args:
        pixels: uint8 [8, 8], 0 to 16.
    """
    scale = IMAGE_SIDE // SIDE
    # Output pixel i lies at (2 i + 1) / (2 scale) input pixels, so every weight is a multiple of 1 / (2 scale).
    position = 2 * np.arange(IMAGE_SIDE) + 1 - scale
    low = np.floor_divide(position, 2 * scale)
    weight = position - 2 * scale * low
    weights = np.zeros((IMAGE_SIDE, SIDE), dtype=np.int64)
    rows = np.arange(IMAGE_SIDE)
    np.add.at(weights, (rows, np.clip(low, 0, SIDE - 1)), 2 * scale - weight)
    np.add.at(weights, (rows, np.clip(low + 1, 0, SIDE - 1)), weight)
    summed = weights @ pixels.astype(np.int64) @ weights.T
    divisor = LARGEST_VALUE * (2 * scale) ** 2
    enlarged: NDArray[np.uint8] = ((255 * summed + divisor // 2) // divisor).astype(np.uint8)
    return enlarged


def to_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a read-only grey image uint8 [H, W, 3] from uint8 [H, W]."""
    coloured = np.repeat(image[:, :, None], 3, axis=2)
    coloured.setflags(write=False)
    return coloured
