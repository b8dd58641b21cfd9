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
from pathlib import Path
from typing import ClassVar

from dataset_builders.full.builder import FullBuilder
from dataset_builders.full.language.tasks import TASKS, Document, LanguageTask, OtherDocumentsError, task_of
from dataset_builders.full.published.references import documents
from dataset_builders.full.raw import Repository
from dataset_builders.full.sample_lists import sample_places
from lamofcbench.builders import Sample, Split
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
        tasks = [self.task] if split == "test" else [replace(task, split=TRAINING) for task in (_ARC, self.task)]
        folder = self.raw.folder(split, repository_of(tasks[0]), f"documents of {tasks[0].name}")
        task, found = _documents(folder, tasks)
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


def _documents(folder: Path, tasks: Sequence[LanguageTask]) -> tuple[LanguageTask, list[Document]]:
    """The first of the tasks whose documents a folder holds, and these; damaged ones are an error.

    Raises:
        DataError: if there are none of any, by what is wrong with the first, or they cannot be read.
    """
    wrong: list[OtherDocumentsError] = []
    for task in tasks:
        try:
            found = list(documents(folder, task))
            task.ordered(found)  # files that do not say whose they are may be another task's
            return task, found
        except OtherDocumentsError as error:
            wrong.append(error)
    raise wrong[0]


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
