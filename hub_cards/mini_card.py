"""The dataset card of the mini edition: ``make card`` measures and writes it, a test compares text and figures.

``facts.json`` holds what was measured: anchor, floor and best constant answer of every scenario on its whole test
split, and the spread of its tensors over the calibration split. The card is made from the facts, the declarations and
the training records alone.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from harness import evaluate
from harness.metrics.predictions import decode_reference
from harness.results.scoring import make_metric
from lamofcbench.atomic import write_text
from lamofcbench.builders import BUILDERS
from lamofcbench.scenarios.base import SCENARIOS, Scenario
from lamofcbench.statistics import tensor_statistics
from lamofcbench.storage import open_split

FOLDER = Path(__file__).parent / "mini"
FACTS = FOLDER / "facts.json"
CARD = FOLDER / "README.md"
TEMPLATES = FOLDER / "text"
CONSTANTS_TRIED = 50

# Facts of arXiv 2605.24025's public quantisation tables: smallest, lower quartile, upper quartile and largest point, or
# how far the values reach.
PUBLISHED_RANGES = {
    ("dinov3-vit", "block.9"): "-7270, -15, 2, 1020",
    ("dinov3-vit", "block.39"): "-13100, -700, 372, 7270",
    ("qwen3-decoder", "key.0"): "-217, -71, 87, 225",
    ("qwen3-decoder", "key.*"): "within 20 to 55",
    ("qwen3-decoder", "value.0"): "-0.31, -0.04, 0.05, 0.29",
    ("qwen3-decoder", "hidden"): "-21.6, -0.64, 3.6, 83",
    ("falcon-mamba-decoder", "ssm_state.*"): "within 0.07 to 0.9",
    ("falcon-mamba-decoder", "conv_state.*"): "within 4 to 15",
    ("falcon-mamba-decoder", "hidden"): "-2.5 to 1.3",
    ("kimi-audio", "key.0"): "within 170",
    ("kimi-audio", "value.*"): "within 1.3 to 4.4",
    ("kimi-audio", "hidden"): "-10800, -16, 18, 3940",
    ("sd3-controlnet", "clip_l.hidden.*"): "-850, -1.4, 1.4, 850",
    ("sd3-controlnet", "clip_g.hidden.*"): "-66 to 23",
    ("sd3-controlnet", "t5.hidden.*"): "-6.6 to 2.4",
    ("sd3-controlnet", "vae_encoder.*"): "-54 to 13",
    ("sd3-controlnet", "latent"): "-4.8 to 3.5",
}


def mini_scenarios() -> list[Scenario]:
    """The scenarios of the mini edition, in the order of their ids."""
    return [scenario for scenario in SCENARIOS if scenario.edition == "mini"]


# ------------------------------------------------------------------------------------------------------------ measuring


def measure(scenario: Scenario, results: Path) -> dict[str, Any]:
    """The facts of a scenario; anchor and floor are ordinary results and are found again in the folder."""
    curve = evaluate([], scenario, results=results)
    calibration = open_split(scenario, "calibration")
    tensors = tensor_statistics(calibration, scenario.specs, len(calibration))
    return {
        "anchor": curve.anchor.score,
        "floor": curve.floor.score,
        "constant": constant_score(scenario),
        "tensors": [_finite(asdict(tensor)) for tensor in tensors],
    }


def constant_score(scenario: Scenario) -> float | None:
    """The score of the best constant prediction on the test split; None for images.

    For labels and texts the commonest references are tried, for masks every class, for maps the mean of valid pixels.
    """
    reader = open_split(scenario, "test")
    references = [decode_reference(scenario.prediction, reader.reference(index)) for index in range(len(reader))]
    metric = make_metric(scenario)

    def score(predictions: Iterable[Any]) -> float:
        rows = [metric.statistics(p, reference) for p, reference in zip(predictions, references, strict=True)]
        return metric.score({name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]})

    if scenario.prediction == "map":
        valid = np.concatenate([np.asarray(r, np.float64)[np.asarray(r) > 0] for r in references])
        return score(np.full(np.shape(r), valid.mean(), np.float16) for r in references)
    if scenario.prediction == "mask":
        classes = sorted({int(value) for r in references for value in np.unique(r)})
        scores = [score(np.full_like(r, value) for r in references) for value in classes]
    elif scenario.prediction in ("text", "label"):
        commonest = [value for value, _ in Counter(references).most_common(CONSTANTS_TRIED)]
        scores = [score([value] * len(references)) for value in commonest]
    else:
        return None
    return max(scores) if scenario.direction == "up" else min(scores)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


# -------------------------------------------------------------------------------------------------------------- writing


def card(facts: dict[str, Any]) -> str:
    """The card's text."""
    text = (TEMPLATES / "head.md").read_text(encoding="utf-8")
    parts = [text.rstrip(), "", "## Scores with uncoded features", "", score_table(facts), ""]
    parts += ["## Generated images", "", (TEMPLATES / "images.md").read_text(encoding="utf-8").rstrip(), ""]
    parts += [image_table(), ""]
    parts += ["## Models", "", model_table(), ""]
    parts += ["## Spread of the tensors", "", (TEMPLATES / "spread.md").read_text(encoding="utf-8").rstrip(), ""]
    for model, scenario in one_scenario_a_model().items():
        parts += [f"### {model}, on `{scenario.id}`", "", spread_table(scenario, facts[scenario.id]["tensors"]), ""]
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
                *(_figure(found[name]) for name in ("anchor", "floor", "constant")),
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
        rows.append((name.replace("_", " "), *map(_figure, (record[key], other)), _range([s[key] for s in seeds])))
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


def spread_table(scenario: Scenario, tensors: Sequence[dict[str, Any]]) -> str:
    """A row a tensor; figures without the two largest channels stand in brackets."""
    full = SCENARIOS.get(scenario.mirrors or "").tensors
    head = ("tensor", "min, quartiles, max", "kurtosis", "channel spread", "token corr.", "channel corr.", "published")
    rows = []
    for found, original in zip(tensors, full, strict=True):
        everything, rest = found["all"], found["without_largest"] or {}
        reach = ("minimum", "lower_quartile", "upper_quartile", "maximum")
        both = ("kurtosis", "channel_spread", "token_correlation", "channel_correlation")
        rows.append(
            (
                f"`{found['name']}`",
                ", ".join(_figure(everything[name]) for name in reach),
                *(f"{_figure(everything[name])} ({_figure(rest.get(name))})" for name in both),
                published_range(scenario.backbone.adapter, original.name),
            )
        )
    return markdown_table(head, rows)


def published_range(adapter: str, tensor: str) -> str:
    """What is known about a tensor of the full scenario; empty where nothing is."""
    return next(
        (text for (name, pattern), text in PUBLISHED_RANGES.items() if name == adapter and fnmatch(tensor, pattern)), ""
    )


def seed_range(scenario: Scenario) -> str:
    """The lowest and highest score over trainings with several seeds; empty for images, which refer to themselves."""
    if scenario.prediction == "image":
        return ""
    return _range([found[scenario.id] for found in seeds_of(model_directory(scenario)).values()])


def seeds_of(model: Path) -> dict[str, dict[str, float]]:
    """What `mini_seeds` measured of each training of a model, by seed; empty where there was one training."""
    path = model / "seeds.json"
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _range(values: Sequence[float]) -> str:
    if not values:
        return "one seed"
    low, high = _figure(min(values)), _figure(max(values))
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


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def main() -> None:
    """Measures what is asked for, and writes facts and card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/card"), help="anchors and floors are kept there")
    parser.add_argument("--text-only", action="store_true", help="write the card from the facts as they are")
    arguments = parser.parse_args()
    if not arguments.text_only:
        facts = {scenario.id: measure(scenario, arguments.results) for scenario in mini_scenarios()}
        write_text(FACTS, json.dumps(facts, indent=1) + "\n")
    write_text(CARD, card(json.loads(FACTS.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
