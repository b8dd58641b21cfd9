"""The card of the mini edition says what was measured, and what the declarations say."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from lamofcbench.errors import UnknownNameError

CARDS = Path(__file__).parent.parent / "hub_cards"


def script(name):
    spec = importlib.util.spec_from_file_location(name, CARDS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mini_card():
    return script("mini_card")


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


def test_scenarios_that_changed_are_measured_without_the_others(mini_card, facts, tmp_path, monkeypatch):
    monkeypatch.setattr(mini_card, "measure", lambda scenario, results: {"measured": scenario.id})
    found = mini_card.measured_facts(tmp_path, ["mini-cvu-digits-shallow"])
    assert list(found) == list(facts)
    assert found == facts | {"mini-cvu-digits-shallow": {"measured": "mini-cvu-digits-shallow"}}
    with pytest.raises(UnknownNameError, match="did you mean 'mini-cvu-digits'"):
        mini_card.measured_facts(tmp_path, ["mini-cvu-digit"])


def test_models_of_another_seed_are_measured_and_kept_beside_the_shipped_ones(facts, tmp_path, monkeypatch):
    mini_seeds = script("mini_seeds")
    shipped, trained = tmp_path / "shipped", tmp_path / "trained"
    for folder in (shipped, trained):
        shutil.copytree(mini_seeds.WEIGHTS / "digits-vit", folder / "digits-vit")
    record = json.loads((trained / "digits-vit" / "training.json").read_text())
    (trained / "digits-vit" / "training.json").write_text(json.dumps(record | {"seed": 12}))
    (shipped / "digits-vit" / "seeds.json").unlink(missing_ok=True)
    monkeypatch.setattr(mini_seeds, "WEIGHTS", shipped)
    hard = [s for s in mini_seeds.scenarios_by_model()["digits-vit"] if s.id == "mini-cvu-digits-hard"]
    monkeypatch.setattr(mini_seeds, "scenarios_by_model", lambda: {"digits-vit": hard, "scenes-vit": []})
    assert mini_seeds.measure(trained, tmp_path / "results") == ["digits-vit"]
    score = pytest.approx(facts["mini-cvu-digits-hard"]["anchor"], abs=0.02)
    seeds = json.loads((shipped / "digits-vit" / "seeds.json").read_text())
    assert seeds == {"1": {"mini-cvu-digits-hard": score}, "12": {"mini-cvu-digits-hard": score}}
    assert list(seeds) == ["1", "12"]
