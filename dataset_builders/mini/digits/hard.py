"""`mini-cvu-digits-hard`: digits on which an independent simple classifier fails; mirrors `cvu-imagenet-a`.

ImageNet-A was chosen by where another network fails. Here it is the nearest class mean of the pixels, fitted on the
digits that train the model. Its failures on those training digits also decide which labels the track has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import ClassVar

import numpy as np

from dataset_builders.mini.digits.clean import DigitsBuilder, sample_of
from dataset_builders.mini.digits.plan import Digit, digits_plan
from lamofcbench.builders import Sample, ScenarioBuilder, Split

LEAST_FAILURES = 2  # on training digits, of a label that the track has
CALIBRATION_SAMPLES = 40


class HardDigitsBuilder(DigitsBuilder):
    """The clean images of hard digits; inputs and reference as those of `DigitsBuilder`."""

    name: ClassVar[str] = "mini-cvu-digits-hard"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Returns the held-out digits on which the nearest mean fails (test), or the hardest calibration digits."""
        return [sample_of(digit) for digit in (hard_digits() if split == "test" else hardest_calibration_digits())]

    def fresh_samples(self, seed: int) -> Iterator[Sample]:
        """There are none: all held-out digits of the kind are in the test split."""
        return ScenarioBuilder.fresh_samples(self, seed)


class ShallowHardDigitsBuilder(HardDigitsBuilder):
    """The same samples, for the split after an early block."""

    name: ClassVar[str] = "mini-cvu-digits-hard-shallow"


def hard_labels() -> tuple[int, ...]:
    """Returns the labels of which the nearest mean mistakes at least two training digits.

    >>> hard_labels()
    (1, 2, 3, 4, 5, 7, 8, 9)
    """
    failures = Counter(digit.label for digit in digits_plan().training if margin(digit) < 0)
    return tuple(sorted(label for label, count in failures.items() if count >= LEAST_FAILURES))


def hard_digits() -> list[Digit]:
    """Returns the held-out digits of these labels that the nearest mean mistakes, in hash order."""
    labels = hard_labels()
    return [digit for digit in digits_plan().held_out if digit.label in labels and margin(digit) < 0]


def hardest_calibration_digits() -> list[Digit]:
    """Returns the 40 calibration digits of these labels with the smallest margins, mistaken or not."""
    labels = hard_labels()
    digits = [digit for digit in digits_plan().calibration if digit.label in labels]
    return sorted(digits, key=lambda digit: (margin(digit), digit.hash))[:CALIBRATION_SAMPLES]


def margin(digit: Digit) -> int:
    """Returns how much nearer the digit's own class mean is than the nearest other one, in some fixed unit.

    Whole numbers, and not means, make every machine choose the same digits.
    """
    pixels = digit.pixels.astype(np.int64)
    totals, counts, weights = _class_sums()
    distances = np.square(counts[:, None, None] * pixels - totals).sum(axis=(1, 2)).tolist()
    distances = [distance * weight for distance, weight in zip(distances, weights, strict=True)]
    return min(distances[: digit.label] + distances[digit.label + 1 :]) - distances[digit.label]


@cache
def _class_sums() -> tuple[np.ndarray, np.ndarray, list[int]]:
    """By label: the training digits' summed pixels, their number, and what brings squared distances to one unit."""
    pixels = [[digit.pixels for digit in digits_plan().training if digit.label == label] for label in range(10)]
    counts = [len(digits) for digits in pixels]
    unit = math.lcm(*counts) ** 2
    totals = np.stack([np.sum(digits, axis=0, dtype=np.int64) for digits in pixels])
    return totals, np.array(counts), [unit // count**2 for count in counts]
