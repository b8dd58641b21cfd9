"""The card of the mini edition says what was measured, and what the declarations say."""

import importlib.util
import json
from pathlib import Path

import pytest

CARDS = Path(__file__).parent.parent / "hub_cards"


@pytest.fixture(scope="module")
def mini_card():
    spec = importlib.util.spec_from_file_location("mini_card", CARDS / "mini_card.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def facts(mini_card):
    return json.loads(mini_card.FACTS.read_text())


def test_the_card_is_made_from_the_facts(mini_card, facts):
    assert mini_card.CARD.read_text() == mini_card.card(facts)


def test_the_facts_cover_every_mini_scenario_and_tensor(mini_card, facts):
    scenarios = mini_card.mini_scenarios()
    assert list(facts) == [scenario.id for scenario in scenarios]
    for scenario in scenarios:
        assert [t["name"] for t in facts[scenario.id]["tensors"]] == [spec.name for spec in scenario.tensors]


def test_scores_beat_the_best_answer_that_does_not_look(mini_card, facts):
    for scenario in mini_card.mini_scenarios():
        found = facts[scenario.id]
        if found["constant"] is not None:
            assert (found["anchor"] > found["constant"]) == (scenario.direction == "up"), scenario.id


def test_measuring_again_gives_the_same_facts(mini_card, facts, tmp_path):
    [scenario] = [s for s in mini_card.mini_scenarios() if s.id == "mini-cvu-digits"]
    again = mini_card.measure(scenario, tmp_path)
    found = facts[scenario.id]
    assert again["anchor"] == pytest.approx(found["anchor"], abs=0.005)
    assert again["floor"] == pytest.approx(found["floor"], abs=0.005)
    assert again["constant"] == found["constant"]
