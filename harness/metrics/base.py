"""The metric contract: statistics of one sample, and a score over the statistics of many.

Scoring, bootstrap and merging use nothing but the statistics, so a run can be scored again without model or features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from lamofcbench.registry import Registry
from lamofcbench.scenarios.base import PredictionType


class Metric(ABC):
    """Compares predictions with references.

    Args:
        options: the scenario's ``metric_options``.

    Class attributes:
        name: what scenarios name.
        direction: ``up`` where higher is better.
        range: the lowest and highest score that can occur in practice, the yardstick for "anchor and floor are too
            close"; ``(0, 1)`` for accuracies.
        accepts: the prediction types that the metric can compare, the usual one first; all where absent.
    """

    name: ClassVar[str]
    direction: ClassVar[Literal["up", "down"]]
    range: ClassVar[tuple[float, float]]
    accepts: ClassVar[tuple[PredictionType, ...]] = ("text", "label", "scores", "mask", "map", "image")

    def __init__(self, **options: Any) -> None:
        self.options = options

    @abstractmethod
    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """What one sample contributes: scalars or float arrays whose shapes do not depend on the sample."""

    @abstractmethod
    def score(self, statistics: Mapping[str, np.ndarray]) -> float:
        """The score over samples.

        Args:
            statistics: each statistic stacked over samples, ``[samples, ...]``; at least one sample.
        """


METRICS: Registry[type[Metric]] = Registry("metric", Metric, package="harness.metrics", group="lamofcbench.metrics")
