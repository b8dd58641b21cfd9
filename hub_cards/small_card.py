"""The dataset card of the small edition: ``python hub_cards/small_card.py`` measures and writes it.

``facts.json`` holds what was measured, as for the mini edition, see `mini_card`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from edition_card import figure, licences, measure, scenarios_of, spread_table

from harness.results import store
from harness.results.record import column, statistics_of
from harness.results.result import ANCHOR
from harness.results.scoring import make_metric
from harness.results.tables import read_table
from lamofcbench.atomic import write_text
from lamofcbench.markdown import markdown_table
from lamofcbench.scenarios.base import SCENARIOS, Axis, Scenario

FOLDER = Path(__file__).parent / "small"
FACTS = FOLDER / "facts.json"
CARD = FOLDER / "README.md"
TEMPLATES = FOLDER / "text"
LENGTHS = (0, 64, 128, 192, 256, 320, 384, 448, 512)
"""Ends of the buckets of prompts, in tokens."""
ORIGINAL = "clu-gsm8k"
"""A full scenario with the same kinds of tensors, whose published ranges stand beside."""


def card(facts: dict[str, Any]) -> str:
    """The card's text."""
    head, spread = ((TEMPLATES / f"{name}.md").read_text(encoding="utf-8").rstrip() for name in ("head", "spread"))
    parts = [head, "", "## Scores with uncoded features", "", score_table(facts), "", length_table(facts), ""]
    parts += ["## Spread of the tensors", "", spread, ""]
    for scenario in scenarios_of("small"):
        table = spread_table(facts[scenario.id]["tensors"], SCENARIOS.get(ORIGINAL))
        parts += [f"### `{scenario.id}`", "", table, ""]
    parts += ["## Licences", "", licences(scenarios_of("small")), ""]
    return "\n".join(parts)


def score_table(facts: dict[str, Any]) -> str:
    """A row a scenario."""
    head = ("scenario", "test", "calibration", "metric", "score", "`mean`", "best constant", "given to the tail")
    rows = []
    for scenario in scenarios_of("small"):
        found = facts[scenario.id]
        given = ", ".join(f"`{spec.name}` {spec.dtype} {list(spec.shape)}" for spec in scenario.given)
        rows.append(
            (
                f"`{scenario.id}`",
                scenario.test_samples,
                scenario.calibration_samples,
                f"{scenario.metric} ({scenario.direction})",
                *(figure(found[name]) for name in ("anchor", "floor", "constant")),
                given or "nothing",
            )
        )
    return markdown_table(head, rows)


def length_table(facts: dict[str, Any]) -> str:
    """A row a scenario: the score of uncoded features by the length of prompts."""
    buckets = [f"{low + 1} to {high} tokens" for low, high in pairwise(LENGTHS)]
    rows = []
    for scenario in scenarios_of("small"):
        found = [facts[scenario.id]["by_length"].get(str(high)) for high in LENGTHS[1:]]
        cells = ["-" if part is None else f"{figure(part['score'])} ({part['samples']})" for part in found]
        rows.append((f"`{scenario.id}`", *cells))
    return markdown_table(("score by prompt length (samples)", *buckets), rows)


def by_length(scenario: Scenario, results: Path) -> dict[str, Any]:
    """By the most tokens of a bucket, the score of uncoded features on its samples, and their number."""
    [table] = [
        read_table(folder.path / store.SAMPLES_FILE)
        for folder in store.find_results(results)
        if (result := folder.read_result()) is not None
        and (result.scenario, result.codec.name) == (scenario.id, ANCHOR)
        and result.scenario_digest == scenario.digest
        and result.samples == scenario.test_samples
    ]
    # The features of a token are of a fixed size, so their number tells the length.
    tokens = column(table, "elements") / sum(_elements_of_a_token(spec.shape) for spec in scenario.tensors)
    statistics, metric = statistics_of(table), make_metric(scenario)
    found = {}
    for low, high in pairwise(LENGTHS):
        chosen = (tokens > low) & (tokens <= high)
        if chosen.any():
            score = metric.score({name: values[chosen] for name, values in statistics.items()})
            found[str(high)] = {"score": float(f"{score:.4g}"), "samples": int(chosen.sum())}
    return found


def _elements_of_a_token(shape: Sequence[int | Axis]) -> int:
    return math.prod(size for size in shape if isinstance(size, int))


def main() -> None:
    """Measures what is asked for, and writes facts and card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/card"), help="anchors and floors are kept there")
    parser.add_argument("--text-only", action="store_true", help="write the card from the facts as they are")
    arguments = parser.parse_args()
    if not arguments.text_only:
        facts = {
            scenario.id: measure(scenario, arguments.results) | {"by_length": by_length(scenario, arguments.results)}
            for scenario in scenarios_of("small")
        }
        write_text(FACTS, json.dumps(facts, indent=1) + "\n")
    write_text(CARD, card(json.loads(FACTS.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
