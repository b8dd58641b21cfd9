"""The card of the small edition says what was measured, and what the declarations say."""

import json

import pytest
import small_card


@pytest.fixture(scope="module")
def facts():
    return json.loads(small_card.FACTS.read_text())


def test_the_card_is_made_from_the_facts(facts):
    assert small_card.CARD.read_text() == small_card.card(facts)


def test_the_facts_cover_every_small_scenario_and_tensor(facts):
    scenarios = small_card.scenarios_of("small")
    assert list(facts) == [scenario.id for scenario in scenarios]
    for scenario in scenarios:
        assert [t["name"] for t in facts[scenario.id]["tensors"]] == [spec.name for spec in scenario.tensors]


def test_scores_beat_the_best_answer_that_does_not_look_and_the_floor(facts):
    for scenario in small_card.scenarios_of("small"):
        found, up = facts[scenario.id], scenario.direction == "up"
        assert (found["anchor"] > found["floor"]) == up
        assert found["constant"] is None or (found["anchor"] > found["constant"]) == up
