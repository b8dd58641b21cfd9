"""A user's scenario whose samples may have no tokens: is the sum of a few numbers positive, negative, or of none?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dataset_builders.base import Builder
from lamofcbench.builders import Sample, Split
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

TOKENS = (0, 0, 1, 2, 3)
"""Of consecutive samples, again and again: the first two have none, a set of one token is a single element."""
SAMPLES = {"test": 20, "calibration": 10}

SPARSE = Scenario(
    id="toy-sparse",
    version=1,
    edition="user",
    category="other",
    title="Sums of few numbers, top-1 accuracy",
    backbone=Backbone(adapter=":SparseModel", source="."),
    splits=(0,),
    tensors=(
        TensorSpec(name="hidden", role="hidden", shape=(Axis(name="tokens", limit=8), 1), dtype="float32"),
        TensorSpec(name="marks", role="hidden", shape=(Axis(name="marks", limit=8), 3), dtype="bfloat16"),
    ),
    prediction="label",
    metric="accuracy",
    direction="up",
    batch_size=2,
    test_samples=SAMPLES["test"],
    calibration_samples=SAMPLES["calibration"],
    licence="Apache-2.0",
    builder=":SparseBuilder",
)


class SparseBuilder(Builder):
    """Numbers of one sign a sample; no sample has marks."""

    name = "toy-sparse-builder"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Deterministic samples; the label is 2 where there are no numbers."""
        made = []
        for number in range(SAMPLES[split]):
            tokens, positive = TOKENS[number % len(TOKENS)], number % 2
            numbers = np.full((tokens, 1), 1.0 + number) * (1 if positive else -1)
            made.append(Sample(f"{split}-{number}", numbers, positive if tokens else 2))
        return made

    def content_hash(self, sample: Sample) -> str:
        """Of the sample's name, because samples without numbers are alike."""
        return sample.id.encode().hex()

    def revision(self) -> str:
        """Raised by hand."""
        return "1"


class SparseModel(SplitModel):
    """The front passes numbers on; the tail sums them."""

    name = "toy-sparse-model"

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> SparseModel:
        """Needs no weights."""
        return cls()

    def front(self, inputs: Any) -> FeatureSet:
        """The numbers as they are, and no marks."""
        return FeatureSet({"hidden": torch.as_tensor(inputs, dtype=torch.float32), "marks": torch.zeros(0, 3)})

    def tail(self, batch: Sequence[FeatureSet]) -> list[Any]:
        """The sign of the sum; 2 for no numbers."""
        return [int(features["hidden"].sum() > 0) if len(features["hidden"]) else 2 for features in batch]

    def full(self, inputs: Any) -> Any:
        """Front and tail in one."""
        return self.tail([self.front(inputs)])[0]

    def front_modules(self) -> list[nn.Module]:
        """None."""
        return []
