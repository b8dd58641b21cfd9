"""`mini-cvu-digits`: scikit-learn's handwritten digits, dealt by `digits_plan`; mirrors `cvu-imagenet-val`."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from typing import ClassVar

from dataset_builders.mini._builder import MiniBuilder
from dataset_builders.mini.digits.plan import Digit, digits_plan, enlarge, to_rgb
from lamofcbench.builders import Sample, Split

TEST_SAMPLES = 650


class DigitsBuilder(MiniBuilder):
    """The clean digits: a sample's inputs are a uint8 [24, 24, 3] image, its reference is the label."""

    name: ClassVar[str] = "mini-cvu-digits"
    version: ClassVar[int] = 2  # 1 also stored the level of the shallow variant
    model_name: ClassVar[str] = "digits-vit"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Returns the first 650 held-out digits (test) or the calibration digits, in hash order."""
        plan = digits_plan()
        digits = plan.held_out[:TEST_SAMPLES] if split == "test" else plan.calibration
        return [sample_of(digit) for digit in digits]

    def fresh_samples(self, seed: int) -> Iterator[Sample]:
        """Returns the held-out digits that are in no test split, in an order that the seed draws."""
        rest = [sample_of(digit) for digit in digits_plan().held_out[TEST_SAMPLES:]]
        return iter(random.Random(f"{self.name}/fresh {seed}").sample(rest, len(rest)))

    def content_hash(self, sample: Sample) -> str:
        """Returns the hex sha256 of the image's bytes, which the digit's pixels decide on every machine."""
        return hashlib.sha256(sample.inputs.tobytes()).hexdigest()


class ShallowDigitsBuilder(DigitsBuilder):
    """The same samples, for the split after an early block."""

    name: ClassVar[str] = "mini-cvu-digits-shallow"


def sample_of(digit: Digit) -> Sample:
    """Returns the clean digit as a sample; its id is the digit's own, the same in every track."""
    return Sample(id=f"digit-{digit.hash[:12]}", inputs=to_rgb(enlarge(digit.pixels)), reference=digit.label)
