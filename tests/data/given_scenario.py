"""A scenario of a user whose tail is handed tensors besides: which vectors count, and from which class to count."""

from __future__ import annotations

import hashlib
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
from lamofcbench.scenarios.base import Axis, Backbone, GivenSpec, Scenario, TensorSpec

CLASSES = 4
SAMPLES = {"test": 14, "calibration": 6}

_TOKENS = Axis(name="tokens", limit=32)

GIVEN = Scenario(
    id="toy-given",
    version=1,
    edition="user",
    category="other",
    title="The largest sum of chosen vectors, counted from a given class, top-1 accuracy",
    backbone=Backbone(adapter=":GivenModel", source="."),
    splits=(0,),
    tensors=(TensorSpec(name="hidden", role="hidden", shape=(_TOKENS, CLASSES), dtype="float32"),),
    side=("seed",),
    given=(
        GivenSpec(name="chosen", shape=(_TOKENS,), dtype="uint8"),
        GivenSpec(name="first-class", shape=(1,), dtype="int64"),
    ),
    prediction="label",
    metric="accuracy",
    direction="up",
    batch_size=4,
    test_samples=SAMPLES["test"],
    calibration_samples=SAMPLES["calibration"],
    licence="Apache-2.0",
    builder=":GivenBuilder",
)


class GivenBuilder(Builder):
    """Vectors of which every other one counts; the others point elsewhere."""

    name = "toy-given"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Deterministic samples of ragged length."""
        made = []
        for number in range(SAMPLES[split]):
            label, tokens = number % CLASSES, 2 + number % 5
            chosen = np.arange(tokens) % 2 == 0
            vectors = np.zeros((tokens, CLASSES), dtype=np.float32)
            vectors[chosen, label] = 1.0 + number / 100 + (split == "test") / 1000
            vectors[~chosen, (label + 1) % CLASSES] = 9.0
            made.append(Sample(f"{split}-{number}", (vectors, chosen, number), (label + number) % CLASSES))
        return made

    def content_hash(self, sample: Sample) -> str:
        """Of the vectors."""
        return hashlib.sha256(sample.inputs[0].tobytes()).hexdigest()

    def revision(self) -> str:
        """Of this file."""
        return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


class GivenModel(SplitModel):
    """The front passes the vectors on; the tail sums the chosen ones and counts classes from the first."""

    name = "toy-given"

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> GivenModel:
        """Needs no weights."""
        return cls()

    def front(self, inputs: Any) -> FeatureSet:
        """The vectors, and beside them which of them count and the first class."""
        vectors, chosen, first = inputs
        given = {"chosen": torch.tensor(chosen).to(torch.uint8), "first-class": torch.tensor([first])}
        return FeatureSet({"hidden": torch.tensor(vectors)}, {"seed": first}, given)

    def tail(self, batch: Sequence[FeatureSet]) -> list[Any]:
        """The class of the largest sum, counted from the given one."""
        predictions = []
        for features in batch:
            chosen, first = features.given["chosen"].bool(), int(features.given["first-class"])
            largest = int(features["hidden"][chosen].sum(0).argmax())
            predictions.append((largest + first) % CLASSES)
        return predictions

    def full(self, inputs: Any) -> Any:
        """Front and tail in one."""
        return self.tail([self.front(inputs)])[0]

    def front_modules(self) -> list[nn.Module]:
        """None."""
        return []
