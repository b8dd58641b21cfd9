"""How much the scores of the mini models depend on the seed of their training.

    python -m dataset_builders.mini.train --all --seed 2 --output trained/2
    python hub_cards/mini_seeds.py trained/2

measures the models of a folder and adds what it found to `seeds.json` beside the shipped weights of each, from where
the dataset card takes the range. Models that the folder lacks are left out, so it may be measured while it grows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from dataset_builders.mini._builder import MiniBuilder
from dataset_builders.mini._files import WEIGHTS, write_json
from harness import evaluate
from lamofcbench.builders import BUILDERS
from lamofcbench.locks import LOCKS_DIRECTORY, locked
from lamofcbench.scenarios.base import SCENARIOS, Scenario

FACTS = Path(__file__).parent / "mini" / "facts.json"
HELD_OUT = "held_out_"
IMAGES = "held_out_edges"
"""What only a training record of generated images has; their FID has no range, but what they show has."""

Scores = dict[str, float]


def measure(folder: Path, results: Path) -> list[str]:
    """Adds the models of a folder to the records of their seeds; returns the models' names.

    Args:
        folder: a folder a model, as training with one seed left them.
        results: where evaluations are kept, and found again.
    """
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    measured = []
    for model, scenarios in scenarios_by_model().items():
        if not (folder / model / "training.json").is_file():
            continue
        shipped, other = (json.loads((place / model / "training.json").read_text()) for place in (WEIGHTS, folder))
        path = WEIGHTS / model / "seeds.json"
        scores = {scenario.id: anchor_with(folder, scenario, results) for scenario in scenarios}
        with locked(FACTS.parent / LOCKS_DIRECTORY / "seeds.lock", f"writing {path}"):  # seeds are added
            seeds: dict[str, Scores] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            seeds[str(other["seed"])] = scores | of_images(other)
            seeds[str(shipped["seed"])] = {id_: facts[id_]["anchor"] for id_ in scores} | of_images(shipped)
            write_json(path, dict(sorted(seeds.items(), key=lambda item: int(item[0]))))
        measured.append(model)
    return measured


def scenarios_by_model() -> dict[str, list[Scenario]]:
    """The mini scenarios of each model whose uncoded features have a score; a model of images has none.

    Variants are left out: uncoded features give the predictions that their track's give.
    """
    found: dict[str, list[Scenario]] = {}
    for scenario in SCENARIOS:
        if scenario.edition == "mini":
            directory = BUILDERS.get(scenario.builder or "")().model_directory()
            assert directory is not None
            found.setdefault(directory.name, [])
            if scenario.prediction != "image" and scenario.variant_of is None:
                found[directory.name].append(scenario)
    return found


def anchor_with(folder: Path, scenario: Scenario, results: Path) -> float:
    """The score of a scenario's uncoded features with the models of a folder, on the whole test split."""
    before, MiniBuilder.weights = MiniBuilder.weights, folder
    try:
        return evaluate([], scenario, results=results / folder.name).anchor.score
    finally:
        MiniBuilder.weights = before


def of_images(record: dict[str, Any]) -> Scores:
    """The figures on held-out images in a training record; empty for models of other things."""
    return {name: value for name, value in record.items() if name.startswith(HELD_OUT)} if IMAGES in record else {}


def main() -> None:
    """Measures a folder of models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="models trained with another seed")
    parser.add_argument("--results", type=Path, default=Path("results/seeds"), help="evaluations are kept there")
    arguments = parser.parse_args()
    measured = measure(arguments.folder, arguments.results)
    if not measured:
        sys.exit(f"{arguments.folder} holds no trained mini model")
    print("\n".join(measured))


if __name__ == "__main__":
    main()
