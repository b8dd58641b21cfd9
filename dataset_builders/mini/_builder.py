"""What the mini scenarios' builders share: where their weights are and what their revision hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from dataset_builders.mini._files import WEIGHTS
from dataset_builders.packaged import PackagedBuilder

# Records of trainings do not decide the features.
NOT_HASHED = ("training.json", "seeds.json")


class MiniBuilder(PackagedBuilder):
    """A builder whose raw data and weights come with this package.

    Attributes:
        model_name: the folder of the weights.
        weights: where that folder lies; another one to measure models that were trained with other seeds.
    """

    model_name: ClassVar[str]
    weights: ClassVar[Path] = WEIGHTS

    def model_directory(self) -> Path:
        """Returns the folder of the weights."""
        return self.weights / self.model_name

    def weight_hashes(self) -> Iterator[tuple[str, str]]:
        """Returns relative path and hex sha256 of the files of the weights."""
        folder = self.model_directory()
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in NOT_HASHED:
                yield path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()
