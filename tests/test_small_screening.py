"""The stored screening is what the model answers: a share of it is asked again."""

import json

import small_screening

from dataset_builders.small.facts import SCREENING_FILE, candidates
from lamofcbench.models.loading import load_model
from lamofcbench.scenarios.base import SCENARIOS

BATCH = 3
DISAGREEMENTS = 1
"""On another machine a last bit may decide a word."""


def test_one_batch_of_questions_is_answered_as_recorded(small_model):
    scenario = SCENARIOS.get(small_screening.SCENARIO)
    answered = json.loads(SCREENING_FILE.read_text())["answered"]
    batch = candidates("calibration")[BATCH * scenario.batch_size : (BATCH + 1) * scenario.batch_size]
    found = [right for _, _, right in small_screening.answers(scenario, load_model(scenario), batch)]
    recorded = [answered[question.subject][question.number] == "1" for question in batch]
    assert sum(a != b for a, b in zip(found, recorded, strict=True)) <= DISAGREEMENTS
    assert any(recorded)
