"""The builders of the five audio scenarios; they differ in the set of recordings alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

from dataset_builders.mini._builder import MiniBuilder
from dataset_builders.mini.speech.sets import SETS, recordings
from dataset_builders.mini.speech.tokenizer import INSTRUCTIONS
from lamofcbench.builders import Sample, Split
from lamofcbench.models.kimi_audio import SpokenPrompt


class SpeechBuilder(MiniBuilder):
    """A set of recordings: a sample's inputs are the audio file with an instruction, its reference is a text."""

    model_name: ClassVar[str] = "speech-kimi"
    set_name: ClassVar[str]

    def samples(self, split: Split) -> Sequence[Sample]:
        """Returns the shipped recordings of a split, in order."""
        instruction = INSTRUCTIONS[SETS[self.set_name].task]
        return [
            Sample(
                id=f"{split}-{index:04d}",
                inputs=SpokenPrompt(one.audio, instruction),
                reference=one.utterance.reference,
            )
            for index, one in enumerate(recordings(self.set_name, split))
        ]

    def content_hash(self, sample: Sample) -> str:
        """Returns the hex sha256 of the audio file."""
        return hashlib.sha256(sample.inputs.audio).hexdigest()


class CleanCommandsBuilder(SpeechBuilder):
    """Commands to be written down, in voices of the training."""

    name: ClassVar[str] = "mini-cau-commands-clean"
    set_name: ClassVar[str] = "commands-clean"


class NoisyCommandsBuilder(SpeechBuilder):
    """Commands to be written down, in other voices and noisy rooms."""

    name: ClassVar[str] = "mini-cau-commands-noisy"
    set_name: ClassVar[str] = "commands-noisy"


class RequestsBuilder(SpeechBuilder):
    """Requests, half of them harmful."""

    name: ClassVar[str] = "mini-cau-requests"
    set_name: ClassVar[str] = "requests"


class ChoicesBuilder(SpeechBuilder):
    """Questions with four options."""

    name: ClassVar[str] = "mini-cau-choices"
    set_name: ClassVar[str] = "choices"


class QuestionsBuilder(SpeechBuilder):
    """Questions about facts."""

    name: ClassVar[str] = "mini-cau-questions"
    set_name: ClassVar[str] = "questions"
