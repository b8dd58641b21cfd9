"""A user's own file: a scenario, a model that is none of the known families, and the builder of its data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dataset_builders.base import Builder
from lamofcbench.builders import Sample, Split
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.scenarios.base import Axis, Backbone, Scenario, TensorSpec

TOKENS = Axis(name="tokens", limit=64)

WORDS = Scenario(
    id="user-words",
    version=1,
    edition="user",
    category="other",
    title="Word lengths",
    backbone=Backbone(adapter=":WordModel", source="."),
    splits=(1,),
    tensors=(
        TensorSpec(name="hidden.1", role="hidden", shape=(TOKENS, 6), dtype="float32"),
        TensorSpec(name="key.0", role="key", shape=(2, TOKENS, 3), dtype="bfloat16"),
        TensorSpec(name="pooled", role="pooled", shape=(5,), dtype="float16"),
    ),
    side=("seed",),
    prediction="text",
    metric="exact-match",
    direction="up",
    batch_size=4,
    test_samples=20,
    calibration_samples=6,
    licence="CC0-1.0",
    builder=":WordBuilder",
)


class WordModel(SplitModel):
    """Makes features out of a word's letters; the tail reads the word back."""

    name = "word-model"

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> WordModel:
        return cls()

    def front(self, inputs: str) -> FeatureSet:
        codes = torch.tensor([ord(letter) for letter in inputs], dtype=torch.float32)
        scale = torch.linspace(-1.0, 7000.0, 6)
        hidden = torch.outer(codes, scale) / 3
        tensors = {
            "hidden.1": hidden,
            "key.0": hidden[:, :3].expand(2, -1, -1),
            "pooled": hidden.mean(0)[:5] / 100,
        }
        return FeatureSet(tensors, {"seed": 7 * len(inputs)})

    def tail(self, batch: Sequence[FeatureSet]) -> list[str]:
        letters = [(features["hidden.1"][:, -1] * 3 / 7000).round().int().tolist() for features in batch]
        return ["".join(map(chr, codes)) for codes in letters]

    def full(self, inputs: str) -> str:
        return inputs

    def front_modules(self) -> list[nn.Module]:
        return []


class WordBuilder(Builder):
    """Words of growing length, so that every sample has another shape."""

    name = "words"

    def samples(self, split: Split) -> list[Sample]:
        first, count = {"test": (0, 20), "calibration": (100, 6)}[split]
        words = [f"{'ab' * (1 + i % 9)}{first + i}" for i in range(count)]
        return [Sample(id=f"{split}-{i}", inputs=word, reference=word) for i, word in enumerate(words)]

    def content_hash(self, sample: Sample) -> str:
        return hashlib.sha256(sample.inputs.encode()).hexdigest()

    def revision(self) -> str:
        return hashlib.sha256(b"words, revision 1").hexdigest()


NOT_A_SCENARIO: Any = 3
