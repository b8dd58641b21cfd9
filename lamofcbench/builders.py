"""How a scenario's raw data and weights are found, without importing what makes them.

The builders themselves live outside this package, because the library must not depend on the tools that make data.
They are found through the entry point ``lamofcbench.builders`` or in a user's own file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lamofcbench.errors import DataError
from lamofcbench.registry import Registry
from lamofcbench.scenarios.base import Scenario

Split = Literal["test", "calibration"]


@dataclass(frozen=True)
class Sample:
    """One raw sample.

    Attributes:
        id: unique within the split.
        inputs: what the adapter's `front` takes, such as an image array or a prompt.
        reference: what the metric compares a prediction with: text, a label, or encoded bytes of a mask, map or image;
            `lamofcbench.references` lists what may stand in both.
    """

    id: str
    inputs: Any
    reference: str | int | float | bytes


class ScenarioBuilder(ABC):
    """Brings a scenario's raw samples and weights, and builds its features into shards.

    Class attributes:
        name: what scenarios name.
        version: raised when the same raw data and weights are to give other samples or features.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    @abstractmethod
    def samples(self, split: Split) -> Sequence[Sample]:
        """The raw samples of a split, in their fixed order."""

    @abstractmethod
    def content_hash(self, sample: Sample) -> str:
        """Hex sha256 of a sample's raw content (not of its id), the same wherever that content occurs."""

    @abstractmethod
    def revision(self) -> str:
        """Hex hash of everything that decides the features: raw data, weights and the builder's version."""

    def fresh_samples(self, seed: int) -> Iterator[Sample]:
        """Raw samples drawn as those of the test split were, which nobody can have seen.

        Some may be samples of a split by chance, and some may repeat; whoever asks leaves them out by `content_hash`.

        Args:
            seed: of the draws.

        Raises:
            DataError: if the raw data are what was collected once, so that there are no others.
        """
        raise DataError(f"builder {self.name!r} cannot draw new samples: its raw data were collected once")

    def model_directory(self) -> Path | None:
        """The folder of the weights that the builder brings; None where the backbone's source is a Hub id."""
        return None

    @abstractmethod
    def build(self, scenario: Scenario, output: Path, *, progress: bool = True) -> Path:
        """Runs the front over both splits and writes ``output/<scenario id>/`` as a dataset; returns that folder."""


BUILDERS: Registry[type[ScenarioBuilder]] = Registry(
    "builder", ScenarioBuilder, package=None, group="lamofcbench.builders"
)
