"""What the vision builders share: a sample's inputs are the bytes of its picture's file."""

from __future__ import annotations

import hashlib

import numpy as np

from dataset_builders.full.builder import FullBuilder
from dataset_builders.full.pictures import decoded_image
from lamofcbench.builders import Sample


class PictureBuilder(FullBuilder):
    """A builder whose samples' inputs are encoded pictures, so that those of all samples fit in memory."""

    def model_inputs(self, inputs: bytes) -> np.ndarray:
        """The picture, uint8 ``[H, W, 3]``."""
        return decoded_image(inputs)

    def content_hash(self, sample: Sample) -> str:
        """The hex sha256 of the picture's file."""
        return hashlib.sha256(sample.inputs).hexdigest()

    def reference_digest(self, sample: Sample) -> str:
        """The hex sha256 of the reference, which may be a whole mask."""
        return hashlib.sha256(repr(sample.reference).encode()).hexdigest()
