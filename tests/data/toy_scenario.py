"""A user's own scenario in one file: sort sequences of noisy vectors by the direction that they share."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
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

CLASSES, WIDTH = 4, 8
SAMPLES = {"test": 22, "calibration": 12}
PROTOTYPES = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(7)))[0][:CLASSES]

_TOKENS = Axis(name="tokens", limit=64)

TOY = Scenario(
    id="toy-directions",
    version=1,
    edition="user",
    category="other",
    title="Noisy vectors, top-1 accuracy",
    backbone=Backbone(adapter=":ToyModel", source="."),
    splits=(0,),
    tensors=(
        TensorSpec(name="hidden", role="hidden", shape=(_TOKENS, WIDTH), dtype="float32"),
        TensorSpec(name="key.0", role="key", shape=(2, _TOKENS, 4), dtype="bfloat16"),
    ),
    side=("seed",),
    prediction="label",
    metric="accuracy",
    direction="up",
    batch_size=4,
    test_samples=SAMPLES["test"],
    calibration_samples=SAMPLES["calibration"],
    licence="Apache-2.0",
    builder=":ToyBuilder",
)


class ToyBuilder(Builder):
    """Makes the vectors: a class's direction, and noise, repeated over a ragged number of tokens."""

    name = "toy-builder"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Deterministic samples of ragged length."""
        drawn = self._drawn(split, np.random.default_rng([11, len(split)]))
        return list(itertools.islice(drawn, SAMPLES[split]))

    def fresh_samples(self, seed: int) -> Iterator[Sample]:
        """As many more as are wanted."""
        return self._drawn("fresh", np.random.default_rng([12, seed]))

    def _drawn(self, name: str, generator: np.random.Generator) -> Iterator[Sample]:
        for number in itertools.count():
            label = number % CLASSES
            noise = generator.normal(scale=0.2, size=(2 + number % 5, WIDTH))
            yield Sample(f"{name}-{number}", PROTOTYPES[label].numpy() + noise, label)

    def content_hash(self, sample: Sample) -> str:
        """Of the raw vectors."""
        return hashlib.sha256(np.ascontiguousarray(sample.inputs).tobytes()).hexdigest()

    def revision(self) -> str:
        """Of this file."""
        return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


class ToyModel(SplitModel):
    """The front multiplies by two; the tail sums tokens and compares with each class's direction."""

    name = "toy-model"

    def __init__(self) -> None:
        self.scale = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.scale.weight, 2.0)

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> ToyModel:
        """Needs no weights."""
        return cls()

    def front(self, inputs: Any) -> FeatureSet:
        """Doubled vectors, and half of them once more as a key cache."""
        hidden = torch.as_tensor(inputs, dtype=torch.float32) * self.scale.weight
        key = hidden.reshape(len(hidden), 2, 4).transpose(0, 1)
        return FeatureSet({"hidden": hidden, "key.0": key}, {"seed": len(hidden)})

    def tail(self, batch: Sequence[FeatureSet]) -> list[Any]:
        """The class whose direction agrees best; a hair of noise stands for a model that samples."""
        predictions = []
        for features in batch:
            keys = features["key.0"].float().transpose(0, 1).reshape(-1, WIDTH)
            agreement = (features["hidden"] + keys).sum(0) @ PROTOTYPES.T + 1e-3 * torch.randn(CLASSES)
            predictions.append(int(agreement.argmax()))
        return predictions

    def full(self, inputs: Any) -> Any:
        """Front and tail in one."""
        return self.tail([self.front(inputs)])[0]

    def front_modules(self) -> list[nn.Module]:
        """The doubling."""
        return [self.scale]
