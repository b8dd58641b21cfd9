"""The columns of a row that refer to tensors: the features' by their names, those given besides as ``given.<name>``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from lamofcbench.features import FeatureSet, check_features, check_given
from lamofcbench.scenarios.base import FeatureSpecs, GivenSpec, Scenario, TensorSpec

SIDE_PREFIX = "side."
GIVEN_PREFIX = "given."


@dataclass(frozen=True)
class Columns:
    """The columns that hold what a sample consists of.

    Attributes:
        features: what codecs see.
        given: what the tail is handed besides.
    """

    features: FeatureSpecs
    given: tuple[GivenSpec, ...] = ()

    @classmethod
    def of(cls, scenario: Scenario) -> Columns:
        """The columns of a scenario."""
        return cls(scenario.specs, scenario.given)

    @cached_property
    def tensors(self) -> Mapping[str, TensorSpec | GivenSpec]:
        """The columns of references to tensors, in order, with the declaration of each."""
        return dict(self._named())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The same columns' names, one that two tensors claim twice."""
        return tuple(name for name, _ in self._named())

    @property
    def side(self) -> tuple[str, ...]:
        """The columns of the side information, in order."""
        return tuple(SIDE_PREFIX + name for name in self.features.side)

    def split(self, sample: FeatureSet) -> dict[str, Tensor]:
        """The tensors of a sample by column.

        Raises:
            ScenarioError: if they are not those declared.
        """
        self.check(sample)
        return {**sample.tensors, **{GIVEN_PREFIX + name: tensor for name, tensor in sample.given.items()}}

    def joined(self, tensors: Mapping[str, Tensor], row: Mapping[str, Any]) -> FeatureSet:
        """The sample whose tensors are given by column.

        Args:
            tensors: by column.
            row: holds the side information by column.

        Raises:
            ScenarioError: if they are not those declared.
        """
        sample = FeatureSet(
            {spec.name: tensors[spec.name] for spec in self.features.tensors},
            {name: row[SIDE_PREFIX + name] for name in self.features.side},
            {spec.name: tensors[GIVEN_PREFIX + spec.name] for spec in self.given},
        )
        self.check(sample)
        return sample

    def check(self, sample: FeatureSet) -> None:
        """Raises ScenarioError unless a sample is as declared."""
        sizes = check_features(sample, self.features)
        check_given(sample.given, self.given, sizes)

    def _named(self) -> Sequence[tuple[str, TensorSpec | GivenSpec]]:
        coded = [(spec.name, spec) for spec in self.features.tensors]
        return [*coded, *((GIVEN_PREFIX + spec.name, spec) for spec in self.given)]
