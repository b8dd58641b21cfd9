"""The dataset card of the mini edition: ``make card`` measures and writes it, a test compares text and figures.

``facts.json`` holds what was measured: anchor, floor and best constant answer of every scenario on its whole test
split, and the spread of its tensors over the calibration split. The card is made from the facts, the declarations and
the training records alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edition_card import figure, licences, measure, scenarios_of, spread_table

from lamofcbench.atomic import write_text
from lamofcbench.builders import BUILDERS
from lamofcbench.errors import UnknownNameError
from lamofcbench.markdown import markdown_table
from lamofcbench.scenarios.base import SCENARIOS, Scenario

FOLDER = Path(__file__).parent / "mini"
FACTS = FOLDER / "facts.json"
CARD = FOLDER / "README.md"
TEMPLATES = FOLDER / "text"


def mini_scenarios() -> list[Scenario]:
    """The scenarios of the mini edition, in the order of their ids."""
    return scenarios_of("mini")


def card(facts: dict[str, Any]) -> str:
    """The card's text."""
    text = (TEMPLATES / "head.md").read_text(encoding="utf-8")
    parts = [text.rstrip(), "", "## Scores with uncoded features", "", score_table(facts), ""]
    parts += ["## Generated images", "", (TEMPLATES / "images.md").read_text(encoding="utf-8").rstrip(), ""]
    parts += [image_table(), ""]
    parts += ["## Models", "", model_table(), ""]
    parts += ["## Spread of the tensors", "", (TEMPLATES / "spread.md").read_text(encoding="utf-8").rstrip(), ""]
    for model, track in one_scenario_a_model().items():
        for scenario in (track, *(other for other in mini_scenarios() if other.variant_of == track.id)):
            original = SCENARIOS.get(scenario.mirrors or "")
            table = spread_table(facts[scenario.id]["tensors"], original)
            parts += [f"### {model}, on `{scenario.id}`", "", table, ""]
    parts += ["## Licences", "", licences(mini_scenarios()), ""]
    return "\n".join(parts)


def score_table(facts: dict[str, Any]) -> str:
    """A row a scenario."""
    head = (
        "scenario",
        "mirrors",
        "model",
        "test",
        "calibration",
        "metric",
        "score",
        "`mean`",
        "best constant",
        "seeds",
    )
    rows = []
    for scenario in mini_scenarios():
        found = facts[scenario.id]
        arrow = "up" if scenario.direction == "up" else "down"
        rows.append(
            (
                f"`{scenario.id}`",
                f"`{scenario.mirrors}`",
                model_name(scenario),
                scenario.test_samples,
                scenario.calibration_samples,
                f"{scenario.metric} ({arrow})",
                *(figure(found[name]) for name in ("anchor", "floor", "constant")),
                seed_range(scenario),
            )
        )
    return markdown_table(head, rows)


def image_table() -> str:
    """How well held-out images of uncoded features follow caption and edges, from the training record."""
    head = ("what", "score", "chance or other picture", "seeds")
    folder = model_directory(next(scenario for scenario in mini_scenarios() if scenario.prediction == "image"))
    record, seeds = training_record(folder), seeds_of(folder).values()
    compared = {
        **record["chance_accuracy"],
        "colour": record["held_out_colour_of_other_caption"],
        "edges": record["held_out_edges_of_other_edges"],
    }
    rows = []
    for name, other in compared.items():
        key = f"held_out_{name}"
        rows.append((name.replace("_", " "), *map(figure, (record[key], other)), _range([s[key] for s in seeds])))
    return markdown_table(head, rows)


def training_record(model: Path) -> dict[str, Any]:
    """What a model's training wrote down."""
    record: dict[str, Any] = json.loads((model / "training.json").read_text(encoding="utf-8"))
    return record


def model_table() -> str:
    """A row a model, from its training record."""
    head = ("model", "parameters", "steps", "minutes", "threads", "seed")
    rows = []
    for model, scenario in one_scenario_a_model().items():
        record = training_record(model_directory(scenario))
        parameters = record["parameters"]
        count = sum(parameters.values()) if isinstance(parameters, dict) else parameters
        rows.append((model, count, *(record[name] for name in ("steps", "minutes", "threads", "seed"))))
    return markdown_table(head, rows)


def seed_range(scenario: Scenario) -> str:
    """The lowest and highest score over trainings with several seeds; empty for images, which refer to themselves."""
    if scenario.prediction == "image":
        return ""
    scored = scenario.variant_of or scenario.id  # uncoded features give the same predictions wherever the split is
    return _range([found[scored] for found in seeds_of(model_directory(scenario)).values()])


def seeds_of(model: Path) -> dict[str, dict[str, float]]:
    """What `mini_seeds` measured of each training of a model, by seed; empty where there was one training."""
    path = model / "seeds.json"
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _range(values: Sequence[float]) -> str:
    if not values:
        return "one seed"
    low, high = figure(min(values)), figure(max(values))
    return f"{low if low == high else f'{low} to {high}'} ({len(values)})"


def model_directory(scenario: Scenario) -> Path:
    """The folder of a mini scenario's weights."""
    directory = BUILDERS.get(scenario.builder or "")().model_directory()
    assert directory is not None
    return directory


def model_name(scenario: Scenario) -> str:
    """The name of a mini scenario's model."""
    return model_directory(scenario).name


def one_scenario_a_model() -> dict[str, Scenario]:
    """Each model's name and the first scenario that uses it."""
    found: dict[str, Scenario] = {}
    for scenario in mini_scenarios():
        found.setdefault(model_name(scenario), scenario)
    return found


def measured_facts(results: Path, only: Sequence[str] | None = None) -> dict[str, Any]:
    """The facts of every mini scenario.

    Args:
        results: anchors and floors are kept there.
        only: ids of the scenarios to measure; the others keep the facts that there are. None to measure all.

    Raises:
        UnknownNameError: if an id is none of a mini scenario.
    """
    scenarios = {scenario.id: scenario for scenario in mini_scenarios()}
    if only is None:
        return {id: measure(scenario, results) for id, scenario in scenarios.items()}
    for id in only:
        if id not in scenarios:
            raise UnknownNameError("mini scenario", id, list(scenarios))
    before = json.loads(FACTS.read_text(encoding="utf-8"))
    found = before | {id: measure(scenarios[id], results) for id in only}
    return {id: found[id] for id in scenarios}


def main() -> None:
    """Measures what is asked for, and writes facts and card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/card"), help="anchors and floors are kept there")
    parser.add_argument("--text-only", action="store_true", help="write the card from the facts as they are")
    parser.add_argument("--only", nargs="+", metavar="ID", help="measure these scenarios; other facts stay as they are")
    arguments = parser.parse_args()
    if not arguments.text_only:
        facts = measured_facts(arguments.results, arguments.only)
        write_text(FACTS, json.dumps(facts, indent=1) + "\n")
    write_text(CARD, card(json.loads(FACTS.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
