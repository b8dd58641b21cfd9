"""The metric contract: statistics of one sample, and a score over the statistics of many.

Scoring, bootstrap and merging use nothing but the statistics, so a run can be scored again without model or features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harness.statistics.bootstrap import draw_counts, resample_sums
from lamofcbench.identity import JOINED, identity_of
from lamofcbench.prediction_kinds import PredictionKind
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
            close"; ``(0, 1)`` for accuracies. An instance has its own where options decide it.
        accepts: the prediction types that the metric can compare, the usual one first, a user's own by its name; all
            where absent.
        compares: the prediction type of a user's own that an instance compares; None for a built-in one.
        revision: raised when the same prediction and reference would get other statistics or another score.
        file_options: the options whose values users keep in files, and what reads each: from a path to a value that
            stands in a declaration.
    """

    name: ClassVar[str]
    direction: ClassVar[Literal["up", "down"]]
    range: tuple[float, float]
    accepts: ClassVar[tuple[PredictionType | str, ...]] = (
        "text",
        "label",
        "scores",
        "logprobs",
        "mask",
        "map",
        "image",
    )
    compares: PredictionKind | None = None
    revision: ClassVar[int] = 1
    file_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {}

    def __init__(self, **options: Any) -> None:
        self.options = options

    @property
    def rules(self) -> str:
        """What the metric judges by that came from outside, such as a list that the user named; empty for nothing.

        It becomes part of the identity under which results and reports keep scores apart.
        """
        return ""

    def check_reference(self, reference: Any) -> None:  # noqa: B027
        """Raises DataError where no prediction could be compared with a reference.

        The harness asks this of every sample before anything is computed. Any reference will do where a subclass does
        not say otherwise.

        Args:
            reference: as `statistics` gets it.
        """

    @abstractmethod
    def statistics(self, prediction: Any, reference: Any) -> Mapping[str, float | np.ndarray]:
        """What one sample contributes: scalars or float arrays whose shapes do not depend on the sample."""

    @abstractmethod
    def score(self, statistics: Mapping[str, np.ndarray]) -> float:
        """The score over samples.

        Args:
            statistics: each statistic stacked over samples, ``[samples, ...]``; at least one sample.
        """

    def details(self, statistics: Mapping[str, np.ndarray]) -> Mapping[str, float]:
        """The score in other units, or what else is usually told beside it, by name with unit; by default nothing.

        Args:
            statistics: each statistic stacked over samples, ``[samples, ...]``; at least one sample.
        """
        return {}

    def score_draws(self, statistics: Mapping[str, np.ndarray], indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """The score of each draw of a bootstrap; worth an override where draws can share work.

        Args:
            statistics: each ``[samples, ...]``.
            indices: the samples of each draw, ``[draws, samples]``, as
                `harness.statistics.bootstrap.resample_indices` gives them.

        Returns:
            ``[draws]``; NaN where the score is undefined.
        """
        draws = [self.score({name: values[chosen] for name, values in statistics.items()}) for chosen in indices]
        return np.array(draws, dtype=np.float64)


class AdditiveMetric(Metric):
    """A metric whose score depends on its statistics' sums over samples alone, which scores many draws at once."""

    def score(self, statistics: Mapping[str, np.ndarray]) -> float:
        """The score of the sums over samples."""
        summands = self.summands(statistics)
        samples = len(next(iter(summands.values())))
        return float(self.score_of_sums({name: np.sum(values, axis=0) for name, values in summands.items()}, samples))

    def score_draws(self, statistics: Mapping[str, np.ndarray], indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """The scores of the sums over each draw."""
        summands = self.summands(statistics)
        samples = len(next(iter(summands.values())))
        counts = draw_counts(indices, samples)
        sums = {name: resample_sums(values, counts) for name, values in summands.items()}
        return np.asarray(self.score_of_sums(sums, indices.shape[1]), dtype=np.float64)

    def summands(self, statistics: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """What is summed, each ``[samples, ...]``: the statistics, where a subclass does not combine them."""
        return statistics

    @abstractmethod
    def score_of_sums(self, sums: Mapping[str, np.ndarray], samples: int) -> np.ndarray:
        """The score of one set of sums, or of many.

        Args:
            sums: each ``[...]`` or ``[..., values]``, where ``...`` are the sets and ``values`` the statistic's shape.
            samples: how many were summed.

        Returns:
            ``[...]``, float64; NaN where the score is undefined.
        """


class ShareCorrect(AdditiveMetric):
    """The share of samples whose statistic ``correct`` is 1."""

    def score_of_sums(self, sums: Mapping[str, np.ndarray], samples: int) -> np.ndarray:
        """The mean of ``correct``."""
        return sums["correct"] / samples


def metric_identity(metric: Metric) -> str:
    """The identity of a metric's code, of a prediction type of a user's own, and of what else came from outside."""
    own = "" if metric.compares is None else identity_of(metric.compares)
    return JOINED.join(filter(None, (identity_of(metric), own, metric.rules)))


METRICS: Registry[type[Metric]] = Registry("metric", Metric, package="harness.metrics", group="lamofcbench.metrics")
