"""The five language tasks: where their documents come from, in which order they stand, and what they ask.

Documents are ordered by the length of their texts, the longest first, and of equal length as they stand in the data.
A sample's id is its place in that order, not in the data; the published lists of ids and file names mean these places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from dataset_builders.full.language.definitions import (
    TaskDefinition,
    checked_out_definition,
    definition_file,
    packaged_definition,
)
from lamofcbench.errors import DataError, UnknownNameError, first_line

Document: TypeAlias = Mapping[str, Any]


class OtherDocumentsError(DataError):
    """There are documents of another task only, or none at all."""


class LanguageSample(NamedTuple):
    """What a task asks once.

    Attributes:
        id: the place among the task's documents, the longest being 0.
        prompt: the user's message.
        reference: what the metric compares with.
    """

    id: int
    prompt: str
    reference: str


@dataclass(frozen=True)
class LanguageTask:
    """A task.

    Attributes:
        name: in the published code; id lists and folders have it.
        dataset: Hub id of the data.
        configuration: of the data; None for the only one.
        split: of the data.
        length: of a document's texts, in characters.
        prepared: a document with the fields that templates ask for.
        packaged: the definition's file in lm-eval's package, where it has the same text as the published one.
    """

    name: str
    dataset: str
    configuration: str | None
    split: str
    length: Callable[[Document], int]
    prepared: Callable[[Document], Document] = dict
    packaged: str | None = None

    def definition(self, checkout: Path | None = None) -> TaskDefinition:
        """How the task makes its prompts: by lm-eval's package where that has it, else by the published code.

        Args:
            checkout: ``machine/clu/custom_tasks`` of a checkout of the published code; where it is named and holds the
                task, it goes before the package.

        Raises:
            PluginError: if the package is needed and not installed.
            DataError: if the checkout is needed and not there.
        """
        if self.packaged is None or (checkout is not None and definition_file(self.name, checkout).is_file()):
            return checked_out_definition(self.name, checkout)
        return packaged_definition(self.packaged)

    def ordered(self, documents: Iterable[Document]) -> list[Document]:
        """All documents of the split, prepared, the longest first; a sample's id is its place here.

        Raises:
            OtherDocumentsError: if already the first one lacks what the task asks for.
            DataError: if a later one does.
        """
        measured = []
        for number, document in enumerate(documents):
            try:
                prepared = self.prepared(document)
                measured.append((self.length(prepared), prepared))
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                reason = f"{type(error).__name__}: {first_line(error)}"
                raise (DataError if number else OtherDocumentsError)(
                    f"document {number} is none of {self.name}'s ({reason}); name the folder of {self.dataset}"
                ) from error
        measured.sort(key=lambda one: one[0], reverse=True)  # stable
        return [document for _, document in measured]

    def samples(
        self, documents: Iterable[Document], definition: TaskDefinition, ids: Sequence[int] | None = None
    ) -> list[LanguageSample]:
        """What the task asks.

        Args:
            documents: all of the split, in the order of the data.
            definition: of the task.
            ids: which samples, in which order; None for all.

        Raises:
            DataError: for an id that there is not, or a document that does not fit the definition.
        """
        ordered = self.ordered(documents)
        for id in ids or ():
            if not 0 <= id < len(ordered):
                raise DataError(f"{self.name} has samples 0 to {len(ordered) - 1}; {id} is none of them")
        return [
            LanguageSample(id, definition.prompt(ordered[id]), definition.target(ordered[id]))
            for id in (range(len(ordered)) if ids is None else ids)
        ]


def hellaswag_text(text: str) -> str:
    """A text of HellaSwag without the marks of the pages that it was taken from.

    Example:
        >>> hellaswag_text(" Fix it [title] Take [step] the  tool. ")
        'Fix it. Take the tool.'
    """
    text = text.strip().replace(" [title]", ". ")
    text = re.sub(r"\[.*?\]", "", text)
    return text.replace("  ", " ")


def _hellaswag(document: Document) -> Document:
    """The document with its context and endings cleaned, under every name that templates may use."""
    context = f"{document['activity_label']}: {document['ctx_a']} {document['ctx_b'].capitalize()}"
    cleaned, endings = hellaswag_text(context), [hellaswag_text(ending) for ending in document["endings"]]
    gold = int(document["label"])
    return {**document, "ctx": cleaned, "query": cleaned, "endings": endings, "choices": endings, "gold": gold}


def _total(first: str, others: Iterable[str]) -> int:
    return len(first) + sum(map(len, others))


_TASKS = (
    LanguageTask(
        "fc_arc_challenge",
        "allenai/ai2_arc",
        "ARC-Challenge",
        "test",
        length=lambda document: _total(document["question"], document["choices"]["text"]),
        packaged="arc/arc_challenge_chat.yaml",
    ),
    LanguageTask(
        "fc_hellaswag",
        "Rowan/hellaswag",
        None,
        "validation",
        length=lambda document: _total(document["ctx"], document["endings"]),
        prepared=_hellaswag,
    ),
    LanguageTask(
        "fc_truthfulqa_mc1",
        "truthful_qa",
        "multiple_choice",
        "validation",
        length=lambda document: _total(document["question"], document["mc1_targets"]["choices"]),
    ),
    LanguageTask(
        "fc_winogrande",
        "winogrande",
        "winogrande_xl",
        "validation",
        length=lambda document: _total(document["sentence"], (document["option1"], document["option2"])),
    ),
    LanguageTask(
        "fc_gsm8k",
        "gsm8k",
        "main",
        "test",
        length=lambda document: len(document["question"]),
        packaged="gsm8k/gsm8k.yaml",
    ),
)
TASKS = {task.name: task for task in _TASKS}


def task_of(scenario_id: str) -> LanguageTask:
    """The task of a full language scenario, whichever its model.

    Raises:
        UnknownNameError: if it is none.

    Example:
        >>> task_of("clu-truthfulqa-mc1-mamba").name
        'fc_truthfulqa_mc1'
    """
    name = f"fc_{scenario_id.removeprefix('clu-').removesuffix('-mamba').replace('-', '_')}"
    if not scenario_id.startswith("clu-") or name not in TASKS:
        known = [f"clu-{task.removeprefix('fc_').replace('_', '-')}" for task in TASKS]
        raise UnknownNameError("language scenario", scenario_id, known)
    return TASKS[name]
