"""A user's scenario whose tail shows what its predictions are made from: the toy's, with its agreements as logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from toy_scenario import PROTOTYPES, TOY, WIDTH, ToyBuilder, ToyModel

from lamofcbench.features import FeatureSet
from lamofcbench.scenarios.base import Backbone


class RespondingBuilder(ToyBuilder):
    """The same samples."""

    name = "responding-builder"


class RespondingModel(ToyModel):
    """The toy model, as one that responds."""

    name = "responding-model"
    response_kind = "logits"

    def response(self, batch: Sequence[FeatureSet]) -> Tensor:
        """The agreement with each class's direction, ``[B, 1, classes]``."""
        sums = []
        for features in batch:
            keys = features["key.0"].float().transpose(0, 1).reshape(-1, WIDTH)
            sums.append((features["hidden"] + keys).sum(0) @ PROTOTYPES.T)
        return torch.stack(sums)[:, None]


RESPONDING = TOY.model_copy(
    update={
        "id": "toy-responding",
        "backbone": Backbone(adapter=":RespondingModel", source="."),
        "builder": ":RespondingBuilder",
    }
)
