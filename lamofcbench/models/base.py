"""The split model contract: a front that makes features, and a tail that goes on from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from lamofcbench.errors import PluginError
from lamofcbench.features import FeatureSet
from lamofcbench.registry import Registry
from lamofcbench.scenarios.base import Scenario

ResponseKind = Literal["logits", "values"]
"""``logits``: their softmax is a distribution over the last axis; ``values``: they are quantities, such as metres."""


class SplitModel(ABC):
    """A model cut in two.

    Padding, masks, positions and bucketing live inside the adapter: feature sets are always single, unbatched and
    unpadded samples.

    Class attributes:
        name: what scenarios name.
        revision: raised when the same inputs would get other features, or the same features other predictions.
        response_kind: what `response` returns, which an instance may know better than its class; None where the model
            has no such view.
        hub_options: options that name a Hub repository beside the backbone's own, and the options that pin each.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1
    response_kind: ResponseKind | None = None
    hub_options: ClassVar[Mapping[str, str]] = {}

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

    @classmethod
    def shows_responses(cls, scenario: Scenario) -> bool:
        """Whether `response` shows anything of this scenario, as far as can be said before the model is loaded."""
        return cls.response_kind is not None and cls.response is not SplitModel.response

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

    # ------------------------------------------------------------------------------------------------- responses

    def conditioned(self, batch: Sequence[FeatureSet]) -> list[FeatureSet]:
        """The feature sets, each beside what its response is conditioned on (`FeatureSet.given`).

        Responses can be compared where they are made from the same beginning: that of a language model from the same
        tokens. They are taken from the features given here, which are the uncoded ones; decoded features are put
        beside the same (`FeatureSet.with_given`). Most models need nothing: here the sets come back as they are.
        """
        return list(batch)

    def response(self, batch: Sequence[FeatureSet]) -> Tensor:
        """What predictions are made from, before anything is chosen: differentiable in the features.

        Args:
            batch: feature sets beside what `conditioned` put there.

        Returns:
            ``[B, N, K]`` in compute precision: N positions of K values. Of sample b the first ``response_lengths[b]``
            positions count, what follows them is zero. Where the caller has gradients on, they reach the features.

        Raises:
            PluginError: if the model has no such view.
        """
        raise PluginError(f"split model {self.name!r} shows no responses")

    def response_lengths(self, batch: Sequence[FeatureSet]) -> list[int]:
        """How many positions each sample's response has; here one."""
        return [1] * len(batch)

    def tail_and_response(self, batch: Sequence[FeatureSet]) -> tuple[list[Any], Tensor]:
        """Both of the same feature sets; worth an override where they can share work."""
        return self.tail(batch), self.response(batch)

    def tail_and_response_are_of(self, owner: type[Any]) -> bool:
        """Whether both are what ``owner`` says, which can then make them in one go; a subclass's may be its own."""
        return type(self).tail is owner.tail and type(self).response is owner.response


MODELS: Registry[type[SplitModel]] = Registry(
    "split model", SplitModel, package="lamofcbench.models", group="lamofcbench.models"
)
