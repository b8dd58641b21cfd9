"""What the small scenarios' builders share: one model, known by the hash of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from dataset_builders.packaged import PackagedBuilder
from dataset_builders.small._model import GGUF_FILE, GGUF_SHA256, WEIGHTS_FILE, WEIGHTS_SHA256, converted_model
from lamofcbench.builders import Sample

DATA = Path(__file__).parent / "data"


class SmallBuilder(PackagedBuilder):
    """A builder for SmolLM2-135M-Instruct, whose samples' inputs are prompts."""

    def model_directory(self) -> Path:
        """The folder of the converted model; the first call converts it."""
        return converted_model()

    def weight_hashes(self) -> Iterable[tuple[str, str]]:
        """The package's file, from which the tokenizer comes too, and the weights that it is converted to."""
        return ((GGUF_FILE, GGUF_SHA256), (WEIGHTS_FILE, WEIGHTS_SHA256))

    def content_hash(self, sample: Sample) -> str:
        """The hex sha256 of the prompt in UTF-8."""
        return hashlib.sha256(sample.inputs.encode()).hexdigest()
