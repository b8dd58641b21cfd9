"""The calibration samples of a scenario: all that fitting and training get to see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Scenario
from lamofcbench.storage.reader import open_split


class CalibrationSplit(Sequence[FeatureSet], ABC):
    """Samples to fit on, read anew at each pass so that they need not fit in memory."""

    @property
    @abstractmethod
    def data_revision(self) -> str:
        """Identifies the data."""

    @property
    @abstractmethod
    def builder_identity(self) -> str:
        """The identity of the code that made the features; empty where the data do not say."""

    @abstractmethod
    def features(self, index: int) -> FeatureSet:
        """The stored features of a sample."""

    @abstractmethod
    def content_sha256(self, index: int) -> str:
        """Hex hash of the raw sample."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.features(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.features(index % len(self))

    def __iter__(self) -> Iterator[FeatureSet]:
        return (self.features(index) for index in range(len(self)))


class Calibration(CalibrationSplit):
    """The feature sets of a scenario's calibration split.

    Without the tensors that a scenario gives its tail beside them, because a codec does not see those.

    Fitting and training are handed this and nothing else. It opens the split itself, so no test split can be put in.
    Samples are copies: a codec that writes to one as it learns changes nothing for the next pass or the next codec.

    Args:
        scenario: whose calibration samples.
        data: dataset folder; None for where the scenario's data are by default.

    Raises:
        DataError: if the data are missing or damaged.
        UnknownNameError: if the dataset has no calibration split.
    """

    def __init__(self, scenario: Scenario, data: str | Path | None = None) -> None:
        self.scenario = scenario
        self._split = open_split(scenario, "calibration", data)

    @property
    def data_revision(self) -> str:
        """Of the scenario's data."""
        return self._split.data_revision

    @property
    def builder_identity(self) -> str:
        """As the scenario's data state it."""
        return self._split.builder_identity

    def features(self, index: int) -> FeatureSet:
        """Those of one sample, without what the tail is given beside them."""
        return self._split.features(index).with_given(None).clone()

    def content_sha256(self, index: int) -> str:
        """As the index states it."""
        return self._split.content_sha256(index)

    def __len__(self) -> int:
        return len(self._split)
