"""How long the draws of a report's intervals take: all at once as the report has them, and one by one.

For each metric 1000 draws of one result's score, for BD-rates 1000 draws of one pair of curves; medians of interleaved
repetitions on equal inputs.

    python benchmarks/bootstrap_draws.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np

from harness.metrics.base import METRICS, Metric
from harness.statistics.bd_rate import bd_rate, bd_rates
from harness.statistics.bootstrap import resample_indices

SAMPLES, DRAWS, POINTS, CLASSES, FEATURES = 256, 1000, 6, 20, 64
OPTIONS: dict[str, dict[str, object]] = {"mean-iou": {"num_classes": CLASSES}, "fid": {"features": "shapes"}}


def statistics_of(name: str, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Random statistics of a metric, in the shapes and ranges of real ones."""
    ones = (random.random((SAMPLES, 2)) < 0.5).astype(np.float64)
    counts = random.integers(1, 50, (SAMPLES, 2, CLASSES)).astype(np.float64)
    features = random.standard_normal((2, SAMPLES, FEATURES))
    by_metric: Mapping[str, dict[str, np.ndarray]] = {
        "depth-rmse": {"pixels": counts[:, 0, 0], "squared_error": counts[:, 1, 0]},
        "fid": {"prediction": features[0], "reference": features[1]},
        "mean-iou": {"intersection": counts.min(axis=1), "predicted": counts[:, 0], "labelled": counts[:, 1]},
        "refusal-rate": {"refused": ones[:, 0], "harmless": ones[:, 1]},
        "word-error-rate": {"edits": ones[:, 0], "words": counts[:, 0, 0]},
    }
    return by_metric.get(name, {"correct": ones[:, 0]})


def milliseconds(sides: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """The median of each side, the sides taking turns."""
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repetitions):
        for side, work in sides.items():
            start = time.perf_counter()
            work()
            taken[side].append(1e3 * (time.perf_counter() - start))
    return {side: statistics.median(values) for side, values in taken.items()}


def main() -> None:
    """Prints a row for each metric, and one for BD-rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    repetitions = parser.parse_args().repetitions
    random = np.random.default_rng(0)
    rows: dict[str, dict[str, Callable[[], object]]] = {}
    indices = resample_indices(SAMPLES, DRAWS)
    for name in METRICS.names():
        metric, values = METRICS.get(name)(**OPTIONS.get(name, {})), statistics_of(name, random)
        rows[name] = {
            "together": lambda metric=metric, values=values: metric.score_draws(values, indices),  # type: ignore[misc]
            "one by one": lambda metric=metric, values=values: Metric.score_draws(metric, values, indices),  # type: ignore[misc]
        }
    rates = np.exp2(np.arange(POINTS) + random.random((2, DRAWS, POINTS)))
    curves = rates[0], np.log2(rates[0]), rates[1], np.log2(rates[1])
    rows["BD-rate"] = {
        "together": lambda: bd_rates(*curves),
        "one by one": lambda: [bd_rate(*pair) for pair in zip(*curves, strict=True)],
    }
    print(f"{'ms for ' + str(DRAWS) + ' draws':20}{'together':>12}{'one by one':>12}")
    for name, sides in rows.items():
        taken = milliseconds(sides, repetitions)
        print(f"{name:20}{taken['together']:12.1f}{taken['one by one']:12.1f}")


if __name__ == "__main__":
    main()
