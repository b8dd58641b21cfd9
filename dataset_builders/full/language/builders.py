"""The five language tasks on two models: documents of the Hub's data sets, prompts of lm-eval's definitions.

Sample ids are places among the task's documents, the longest first; a list names places, and without one the first are
taken, which are the longest. Test samples are of the split that the task is scored on. Calibration is of
ARC-Challenge's training split whatever the task, which is what the published tables were made from; a folder without
it, but with the training split of the task itself, gives that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from dataset_builders.full.builder import FullBuilder
from dataset_builders.full.language.tasks import TASKS, LanguageTask, task_of
from dataset_builders.full.published.references import documents
from dataset_builders.full.raw import Repository
from dataset_builders.full.sample_lists import sample_places
from lamofcbench.builders import Sample, Split
from lamofcbench.errors import DataError
from lamofcbench.scenarios.base import Scenario

TRAINING = "train"
_ARC = TASKS["fc_arc_challenge"]


class LanguageBuilder(FullBuilder):
    """A sample's inputs are the user's message, its reference is what the definition says."""

    @property
    def task(self) -> LanguageTask:
        """The task of the track."""
        return task_of(self.name)

    def chosen(self, split: Split) -> Sequence[Sample]:
        """The prompts of a split."""
        task = self.task if split == "test" else replace(_ARC, split=TRAINING)
        folder = self.raw.folder(split, repository_of(task), f"documents of {task.name}")
        try:
            found = list(documents(folder, task))
        except DataError:
            task = replace(self.task, split=TRAINING)
            if split == "test" or task.name == _ARC.name:
                raise
            found = list(documents(folder, task))
        listed = self.raw.samples if split == "test" else None
        places = sample_places(task.name, len(found), self.counts[split], listed)
        samples = task.samples(found, task.definition(self.raw.definitions), places)
        return [Sample(str(sample.id), sample.prompt, sample.reference) for sample in samples]

    def content_hash(self, sample: Sample) -> str:
        """The hex sha256 of the prompt in UTF-8."""
        return hashlib.sha256(sample.inputs.encode()).hexdigest()

    def check(self, scenario: Scenario) -> None:
        """Refuses a scenario whose generation goes by other rules than the task's definition."""
        self.task.definition(self.raw.definitions).check_options(scenario)


def repository_of(task: LanguageTask) -> Repository:
    """Where the documents of a task's split are on the Hub, as `datasets` stores them there."""
    folder = f"{task.configuration}/" if task.configuration else "*"
    return Repository(task.dataset, (f"{folder}{task.split}-*.parquet",))


class ArcChallengeBuilder(LanguageBuilder):
    """ARC-Challenge, Qwen3-8B."""

    name: ClassVar[str] = "clu-arc-challenge"


class ArcChallengeMambaBuilder(LanguageBuilder):
    """ARC-Challenge, Falcon-Mamba-7B."""

    name: ClassVar[str] = "clu-arc-challenge-mamba"


class HellaSwagBuilder(LanguageBuilder):
    """HellaSwag, Qwen3-8B."""

    name: ClassVar[str] = "clu-hellaswag"


class HellaSwagMambaBuilder(LanguageBuilder):
    """HellaSwag, Falcon-Mamba-7B."""

    name: ClassVar[str] = "clu-hellaswag-mamba"


class TruthfulQABuilder(LanguageBuilder):
    """TruthfulQA MC1, Qwen3-8B."""

    name: ClassVar[str] = "clu-truthfulqa-mc1"


class TruthfulQAMambaBuilder(LanguageBuilder):
    """TruthfulQA MC1, Falcon-Mamba-7B."""

    name: ClassVar[str] = "clu-truthfulqa-mc1-mamba"


class WinoGrandeBuilder(LanguageBuilder):
    """WinoGrande, Qwen3-8B."""

    name: ClassVar[str] = "clu-winogrande"


class WinoGrandeMambaBuilder(LanguageBuilder):
    """WinoGrande, Falcon-Mamba-7B."""

    name: ClassVar[str] = "clu-winogrande-mamba"


class GSM8KBuilder(LanguageBuilder):
    """GSM8K, Qwen3-8B."""

    name: ClassVar[str] = "clu-gsm8k"


class GSM8KMambaBuilder(LanguageBuilder):
    """GSM8K, Falcon-Mamba-7B."""

    name: ClassVar[str] = "clu-gsm8k-mamba"
