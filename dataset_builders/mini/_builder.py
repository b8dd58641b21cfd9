"""What the mini scenarios' builders share: where their weights are and what their revision hashes."""

import hashlib
from pathlib import Path
from typing import ClassVar

from dataset_builders.base import Builder
from dataset_builders.mini._files import WEIGHTS
from lamofcbench.builders import Sample, Split

# Records of trainings do not decide the features.
NOT_HASHED = ("training.json", "seeds.json")


class MiniBuilder(Builder):
    """A builder whose raw data and weights come with the package.

    Attributes:
        model_name: the folder of the weights.
        weights: where that folder lies; another one to measure models that were trained with other seeds.
    """

    model_name: ClassVar[str]
    weights: ClassVar[Path] = WEIGHTS

    def model_directory(self) -> Path:
        """Returns the folder of the weights."""
        return self.weights / self.model_name

    def reference_digest(self, sample: Sample) -> str:
        """Returns what the revision hashes of a sample's reference, the same on every machine."""
        return repr(sample.reference)

    def revision(self) -> str:
        """Returns the hex sha256 of the builder's version, the raw data of both splits and the weights' files."""
        digest = hashlib.sha256(f"{self.name} {self.version}".encode())
        splits: tuple[Split, ...] = ("test", "calibration")
        for split in splits:
            for sample in self.samples(split):
                facts = (split, sample.id, self.content_hash(sample), self.reference_digest(sample))
                digest.update(f"{' '.join(facts)}\n".encode())
        folder = self.model_directory()
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in NOT_HASHED:
                name = path.relative_to(folder).as_posix()
                digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()
