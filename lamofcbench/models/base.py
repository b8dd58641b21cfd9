"""The split model contract: a front that makes features, and a tail that goes on from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from lamofcbench.features import FeatureSet
from lamofcbench.registry import Registry
from lamofcbench.scenarios.base import Scenario


class SplitModel(ABC):
    """A model cut in two.

    Padding, masks, positions and bucketing live inside the adapter: feature sets are always single, unbatched and
    unpadded samples.

    Class attributes:
        name: what scenarios name.
        revision: raised when the same inputs would get other features, or the same features other predictions.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1

    @classmethod
    @abstractmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> SplitModel:
        """The model of a scenario, in evaluation mode.

        Args:
            scenario: whose backbone to load.
            directory: the folder of the weights where the scenario's builder brings them; None to fetch the Hub id.
            device: a torch device.
        """

    @classmethod
    def parts(cls, scenario: Scenario) -> tuple[type, ...]:
        """Other plugin classes that a scenario's predictions depend on, such as its head; none here."""
        return ()

    @abstractmethod
    def front(self, inputs: Any) -> FeatureSet:
        """The features of one raw sample, in compute precision (storing casts them to the declared dtypes)."""

    @abstractmethod
    def tail(self, batch: Sequence[FeatureSet]) -> list[Any]:
        """A prediction for each feature set. Runs only what stands after the split."""

    @abstractmethod
    def full(self, inputs: Any) -> Any:
        """The unsplit model's prediction for one raw sample; for proofs that the split is exact."""

    @abstractmethod
    def front_modules(self) -> list[nn.Module]:
        """The modules before the split, whose weights the tail must not depend on."""


MODELS: Registry[type[SplitModel]] = Registry(
    "split model", SplitModel, package="lamofcbench.models", group="lamofcbench.models"
)
