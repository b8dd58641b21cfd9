"""`small-clu-facts`: questions with one-word answers that the model knows.

The questions stand in ``data/facts.json``, by subject; where several answers are right, ``|`` separates them. Which
questions are asked is decided in two steps:

1. The subjects, in alphabetical order, go to the test and the calibration split in turn. So no fact of the one is asked
   for, in whatever words, in the other.
2. Of each subject those questions stay whose answer the model gives on uncoded features, by the scenario's own tail and
   metric: ``data/facts-screened.json``, written by ``python hub_cards/small_screening.py``, has a bit a question.
   Questions that it fails would only add noise: codecs are measured by what they take away.

Both splits are then put in the order of a hash of the prompts, so that any number of first samples is of all subjects.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dataset_builders.small._builder import DATA, SmallBuilder
from dataset_builders.small._model import WEIGHTS_SHA256
from lamofcbench.builders import Sample, Split
from lamofcbench.errors import DataError

QUESTIONS_FILE = DATA / "facts.json"
SCREENING_FILE = DATA / "facts-screened.json"
_ORDER: tuple[Split, ...] = ("test", "calibration")


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        subject: what it is about.
        number: its position in the subject.
        prompt: what the user asks.
        answer: the right word, or several with ``|`` between them.
    """

    subject: str
    number: int
    prompt: str
    answer: str

    @property
    def id(self) -> str:
        """Unique among all questions."""
        return f"{self.subject.replace(' ', '-').lower()}-{self.number:02d}"

    @property
    def digest(self) -> str:
        """Hex sha256 of the prompt in UTF-8."""
        return hashlib.sha256(self.prompt.encode()).hexdigest()


@functools.cache
def candidates(split: Split) -> tuple[Question, ...]:
    """All questions on the subjects of a split, screened or not."""
    subjects = sorted(_read(QUESTIONS_FILE), key=lambda subject: str(subject["subject"]))
    return tuple(
        Question(subject["subject"], number, subject["question"].format(thing), answer)
        for subject in subjects[_ORDER.index(split) :: len(_ORDER)]
        for number, (thing, answer) in enumerate(subject["answers"].items())
    )


def questions_sha256() -> str:
    """Hex hash of all questions and answers, to which a screening belongs."""
    digest = hashlib.sha256()
    for split in _ORDER:
        for question in candidates(split):
            digest.update(f"{split} {question.id} {question.prompt} {question.answer}\n".encode())
    return digest.hexdigest()


def screening(answered: Mapping[str, Sequence[bool]]) -> dict[str, Any]:
    """What `SCREENING_FILE` holds.

    Args:
        answered: subject to whether each of its questions was answered.
    """
    return {
        "weights_sha256": WEIGHTS_SHA256,
        "questions_sha256": questions_sha256(),
        "answered": {subject: "".join("01"[bit] for bit in bits) for subject, bits in sorted(answered.items())},
    }


@functools.cache
def questions(split: Split) -> tuple[Question, ...]:
    """The questions of a split that the model answers on uncoded features.

    Raises:
        DataError: if other questions or weights were screened than these.
    """
    stored = _read(SCREENING_FILE)
    if (stored["weights_sha256"], stored["questions_sha256"]) != (WEIGHTS_SHA256, questions_sha256()):
        raise DataError(
            f"{SCREENING_FILE.name} is of other questions or weights; run python hub_cards/small_screening.py"
        )
    answered: dict[str, str] = stored["answered"]
    kept = (question for question in candidates(split) if answered[question.subject][question.number] == "1")
    return tuple(sorted(kept, key=lambda question: question.digest))


class FactsBuilder(SmallBuilder):
    """A sample's inputs are the question, its reference is the answer."""

    name: ClassVar[str] = "small-clu-facts"

    def samples(self, split: Split) -> Sequence[Sample]:
        """The questions of a split."""
        return [Sample(question.id, question.prompt, question.answer) for question in questions(split)]


def _read(path: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
