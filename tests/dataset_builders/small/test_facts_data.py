"""The questions of `small-clu-facts`: dealt by subject, screened by a stored record, one right answer each."""

import json
from collections import Counter

import pytest

from dataset_builders.small import facts
from dataset_builders.small.facts import FactsBuilder, candidates, questions
from harness.metrics.answer_accuracy import gives_answer
from lamofcbench.errors import DataError
from lamofcbench.scenarios.base import SCENARIOS
from lamofcbench.storage.layout import SPLITS

SCENARIO = SCENARIOS.get("small-clu-facts")


def test_the_splits_share_no_subject_and_no_question():
    subjects = {split: {question.subject for question in candidates(split)} for split in SPLITS}
    assert not subjects["test"] & subjects["calibration"]
    assert min(map(len, subjects.values())) >= 12
    prompts = [question.prompt for split in SPLITS for question in candidates(split)]
    assert len(set(prompts)) == len(prompts) >= 600


def test_no_question_gives_its_own_answer_away():
    for split in SPLITS:
        for question in candidates(split):
            for answer in question.answer.split("|"):
                assert not gives_answer(question.prompt, answer), question


def test_the_scenario_holds_as_many_as_passed():
    passed = {split: len(questions(split)) for split in SPLITS}
    assert passed == {"test": SCENARIO.test_samples, "calibration": SCENARIO.calibration_samples}
    assert min(passed.values()) >= 64
    for split in SPLITS:
        assert set(questions(split)) <= set(candidates(split))


def test_first_samples_are_of_many_subjects():
    assert len({question.subject for question in questions("test")[:32]}) >= 8


def test_no_answer_is_right_for_a_fifth_of_the_test_questions():
    answers = Counter(question.answer for question in questions("test"))
    assert answers.most_common(1)[0][1] < 0.2 * len(questions("test"))


def test_a_screening_of_other_questions_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "facts-screened.json"
    stored = json.loads(facts.SCREENING_FILE.read_text())
    other.write_text(json.dumps(stored | {"questions_sha256": "0" * 64}))
    monkeypatch.setattr(facts, "SCREENING_FILE", other)
    with pytest.raises(DataError, match="small_screening"):
        questions.__wrapped__("test")


def test_the_revision_needs_no_package(monkeypatch):
    monkeypatch.setattr("dataset_builders.small._model.packaged_weights", lambda: 1 / 0)
    assert FactsBuilder().revision() == FactsBuilder().revision()
