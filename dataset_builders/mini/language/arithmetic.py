"""`mini-clu-arithmetic`: generated word problems, dealt by `arithmetic_problems`; mirrors `clu-gsm8k`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

from dataset_builders.mini._builder import MiniBuilder
from dataset_builders.mini.language.arithmetic_problems import (
    CALIBRATION_SAMPLES,
    TEST_SAMPLES,
    fresh_problems,
    problems,
)
from lamofcbench.builders import Sample, Split


class ArithmeticBuilder(MiniBuilder):
    """Word problems: a sample's inputs are the prompt, its reference is the result in decimal digits."""

    name: ClassVar[str] = "mini-clu-arithmetic"
    model_name: ClassVar[str] = "arithmetic-qwen3"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Returns the problems of a split in the order in which they were drawn."""
        count = TEST_SAMPLES if split == "test" else CALIBRATION_SAMPLES
        return [
            Sample(id=f"{split}-{index:04d}", inputs=problem.prompt, reference=problem.reference)
            for index, problem in enumerate(problems(split, count))
        ]

    def fresh_samples(self, seed: int) -> Iterator[Sample]:
        """Returns new problems from the templates and operand pairs of the test split."""
        for index, problem in enumerate(fresh_problems(seed)):
            yield Sample(id=f"fresh-{index:04d}", inputs=problem.prompt, reference=problem.reference)

    def content_hash(self, sample: Sample) -> str:
        """Returns the hex sha256 of the prompt in UTF-8; the prompt decides the reference."""
        return hashlib.sha256(sample.inputs.encode()).hexdigest()


class ArithmeticMambaBuilder(ArithmeticBuilder):
    """The same problems for Falcon-Mamba."""

    name: ClassVar[str] = "mini-clu-arithmetic-mamba"
    model_name: ClassVar[str] = "arithmetic-mamba"
