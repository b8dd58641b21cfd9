"""The stored speech model does what its record says."""

import json

import pytest

from dataset_builders.mini._files import WEIGHTS
from dataset_builders.mini.speech._scores import BUILDERS, constant_scores, score

FOLDER = WEIGHTS / "speech-kimi"
SAMPLES = 50


@pytest.fixture(scope="module")
def record():
    return json.loads((FOLDER / "training.json").read_text())


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_the_model_scores_as_recorded_and_beats_a_constant_answer(builder_class, record):
    found = score(builder_class(), FOLDER, "test", limit=SAMPLES)
    name = builder_class.set_name
    assert found == pytest.approx(record["test_scores"][name], abs=0.12)  # of 50 samples
    assert abs(found - constant_scores()[name]) > 0.3


def test_the_recorded_scores_reach_the_floors(record):
    scores = record["test_scores"]
    assert scores["commands-clean"] <= 0.1 and scores["commands-noisy"] <= 0.3  # word error rates
    assert scores["requests"] >= 0.9 and scores["questions"] >= 0.7
    assert scores["choices"] >= 0.7  # the aim is 0.8
