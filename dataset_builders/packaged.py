"""A builder whose raw data, and weights of its own, are known file by file: its data revision hashes both."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from dataset_builders.base import Builder
from lamofcbench.builders import Sample
from lamofcbench.storage.layout import SPLITS


class PackagedBuilder(Builder):
    """A builder that reads files alone: of packages, as the mini and small editions do, or those that a user has.

    Attributes:
        version: raised when the same raw data and weights are to give other features.
    """

    version: ClassVar[int] = 1

    @abstractmethod
    def weight_hashes(self) -> Iterable[tuple[str, str]]:
        """Name and hex sha256 of each file that decides the model, in a fixed order.

        None where the scenario's declaration and the user's pins tie the weights to commits.
        """

    def reference_digest(self, sample: Sample) -> str:
        """What the revision hashes of a sample's reference, the same on every machine."""
        return repr(sample.reference)

    def revision(self) -> str:
        """The hex sha256 of the builder's version, the raw data of both splits and the weights' files."""
        digest = hashlib.sha256(f"{self.name} {self.version}".encode())
        for split in SPLITS:
            for sample in self.samples(split):
                facts = (split, sample.id, self.content_hash(sample), self.reference_digest(sample))
                digest.update(f"{' '.join(facts)}\n".encode())
        for name, sha256 in self.weight_hashes():
            digest.update(f"{name} {sha256}\n".encode())
        return digest.hexdigest()
