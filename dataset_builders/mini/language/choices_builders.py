"""The builders of the four multiple-choice tasks, each with a track on either decoder; see `choices`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

from dataset_builders.mini._builder import MiniBuilder
from dataset_builders.mini.language.choices import CALIBRATION_SAMPLES, TEST_SAMPLES, fresh_questions, questions
from lamofcbench.builders import Sample, Split


class ChoicesBuilder(MiniBuilder):
    """A multiple-choice task: a sample's inputs are the prompt, its reference is the right option's letter.

    Attributes:
        task: one of the tasks of `choices`.
    """

    task: ClassVar[str]
    model_name: ClassVar[str] = "choices-qwen3"

    def samples(self, split: Split) -> Sequence[Sample]:
        """Returns the questions of a split in the order in which they were drawn."""
        count = TEST_SAMPLES if split == "test" else CALIBRATION_SAMPLES
        return [
            Sample(id=f"{split}-{index:04d}", inputs=question.prompt, reference=question.answer)
            for index, question in enumerate(questions(self.task, split, count))
        ]

    def fresh_samples(self, seed: int) -> Iterator[Sample]:
        """Returns new questions on facts of the test split."""
        for index, question in enumerate(fresh_questions(self.task, seed)):
            yield Sample(id=f"fresh-{index:04d}", inputs=question.prompt, reference=question.answer)

    def content_hash(self, sample: Sample) -> str:
        """Returns the hex sha256 of the prompt in UTF-8; the prompt decides the reference."""
        return hashlib.sha256(sample.inputs.encode()).hexdigest()


class FactsBuilder(ChoicesBuilder):
    """What a thing has follows from what it is."""

    name: ClassVar[str] = "mini-clu-facts"
    task: ClassVar[str] = "facts"


class ScriptsBuilder(ChoicesBuilder):
    """The next step of an activity."""

    name: ClassVar[str] = "mini-clu-scripts"
    task: ClassVar[str] = "scripts"


class ClaimsBuilder(ChoicesBuilder):
    """What is true, where most of what is said is not."""

    name: ClassVar[str] = "mini-clu-claims"
    task: ClassVar[str] = "claims"


class PronounsBuilder(ChoicesBuilder):
    """What a pronoun means."""

    name: ClassVar[str] = "mini-clu-pronouns"
    task: ClassVar[str] = "pronouns"


class FactsMambaBuilder(FactsBuilder):
    """The same questions on the small Falcon-Mamba."""

    name: ClassVar[str] = "mini-clu-facts-mamba"
    model_name: ClassVar[str] = "choices-mamba"


class ScriptsMambaBuilder(ScriptsBuilder):
    """The same questions on the small Falcon-Mamba."""

    name: ClassVar[str] = "mini-clu-scripts-mamba"
    model_name: ClassVar[str] = "choices-mamba"


class ClaimsMambaBuilder(ClaimsBuilder):
    """The same questions on the small Falcon-Mamba."""

    name: ClassVar[str] = "mini-clu-claims-mamba"
    model_name: ClassVar[str] = "choices-mamba"


class PronounsMambaBuilder(PronounsBuilder):
    """The same questions on the small Falcon-Mamba."""

    name: ClassVar[str] = "mini-clu-pronouns-mamba"
    model_name: ClassVar[str] = "choices-mamba"
