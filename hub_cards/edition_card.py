"""What the dataset cards of the editions share: measuring scenarios, and tables of what was measured."""

from __future__ import annotations

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
from lamofcbench.markdown import markdown_table
from lamofcbench.scenarios.base import SCENARIOS, Scenario
from lamofcbench.statistics import tensor_statistics
from lamofcbench.storage import open_split

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


def scenarios_of(edition: str) -> list[Scenario]:
    """The scenarios of an edition, in the order of their ids."""
    return [scenario for scenario in SCENARIOS if scenario.edition == edition]


def licences(scenarios: Sequence[Scenario]) -> str:
    """What the data of scenarios may be used under, as they declare it: a line a licence."""
    under: dict[str, list[str]] = {}
    for scenario in scenarios:
        under.setdefault(scenario.licence, []).append(f"`{scenario.id}`")
    return "\n".join(f"- {licence}: {', '.join(names)}." for licence, names in under.items())


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


def spread_table(tensors: Sequence[dict[str, Any]], original: Scenario) -> str:
    """A row a tensor; figures without the two largest channels stand in brackets.

    Args:
        tensors: what was measured, in order.
        original: the full scenario with the same kinds of tensors, of which published ranges are known.
    """
    head = ("tensor", "min, quartiles, max", "kurtosis", "channel spread", "token corr.", "channel corr.", "published")
    rows = []
    for found, spec in zip(tensors, original.tensors, strict=True):
        everything, rest = found["all"], found["without_largest"] or {}
        reach = ("minimum", "lower_quartile", "upper_quartile", "maximum")
        both = ("kurtosis", "channel_spread", "token_correlation", "channel_correlation")
        rows.append(
            (
                f"`{found['name']}`",
                ", ".join(figure(everything[name]) for name in reach),
                *(f"{figure(everything[name])} ({figure(rest.get(name))})" for name in both),
                published_range(original.backbone.adapter, spec.name),
            )
        )
    return markdown_table(head, rows)


def published_range(adapter: str, tensor: str) -> str:
    """What is known about a tensor of the full scenario; empty where nothing is."""
    return next(
        (text for (name, pattern), text in PUBLISHED_RANGES.items() if name == adapter and fnmatch(tensor, pattern)), ""
    )


def figure(value: float | None) -> str:
    """A figure of three digits; a dash for none."""
    return "-" if value is None else f"{value:.3g}"
