"""The linear classification head of DINOv3: class token and mean patch token of the last block, normalised."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.models.loading import read_tensors
from lamofcbench.models.vision_heads.base import BlockOutputs, TrainedHeadOptions, VisionHead, VisionOptions
from lamofcbench.scenarios.base import Scenario


class LinearOptions(TrainedHeadOptions):
    """Options of a classification scenario.

    Attributes:
        classes: the number of classes, which the weights must have; None to take what they have.
        class_indices: the only classes that can be predicted, as ImageNet-A and ImageNet-R ask; None for all.
        class_subset: what that subset is called, for people; the indices count.
    """

    classes: int | None = None
    class_indices: tuple[int, ...] | None = None
    class_subset: str | None = None


class LinearHead(VisionHead):
    """One linear layer on ``cat(class token, mean of patch tokens)``; registers are left out.

    Args:
        weight: ``[K, 2C]``.
        bias: ``[K]``.
        class_indices: the only classes that can be predicted; None for all K.
    """

    name = "linear"
    Options: ClassVar[type[VisionOptions]] = LinearOptions
    response_kind = "logits"
    excluded: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, class_indices: tuple[int, ...] | None = None) -> None:
        super().__init__()
        classes, inputs = weight.shape
        self.linear = nn.Linear(inputs, classes)
        self.linear.load_state_dict({"weight": weight, "bias": bias})
        excluded = torch.zeros(classes, dtype=torch.bool)
        if class_indices is not None:
            excluded[:] = True
            excluded[list(class_indices)] = False
        self.register_buffer("excluded", excluded, persistent=False)

    @classmethod
    def load(cls, scenario: Scenario, options: LinearOptions, directory: Path | None, width: int) -> LinearHead:
        """The head of a scenario.

        Raises:
            ScenarioError: if the options do not say where the weights are, or name classes that do not exist.
            DataError: if the weights are missing or of another shape.
        """
        if options.class_subset is not None and options.class_indices is None:
            raise ScenarioError(
                f"scenario {scenario.id!r}: class_subset {options.class_subset!r} is a name only; "
                "list the classes in option class_indices"
            )
        path = options.head_path(scenario, directory)
        weight, bias = _linear_weights(path, width)
        classes = len(bias)
        if options.classes is not None and options.classes != classes:
            raise DataError(f"{path} has {classes} classes; scenario {scenario.id!r} states {options.classes}")
        wrong = [index for index in options.class_indices or () if not 0 <= index < classes]
        if wrong or options.class_indices == ():
            raise ScenarioError(f"scenario {scenario.id!r}: class_indices must lie in 0..{classes - 1}: {wrong}")
        return cls(weight, bias, options.class_indices)

    def logits(self, outputs: BlockOutputs) -> Tensor:
        """Logits ``[N, K]``, minus infinity for excluded classes."""
        tokens = outputs.norm(outputs.last)
        pooled = torch.cat([tokens[:, 0], tokens[:, outputs.prefix_tokens :].mean(dim=1)], dim=-1)
        return self.linear(pooled).masked_fill(self.excluded, -torch.inf)

    def assess(self, outputs: BlockOutputs) -> list[Tensor]:
        """Each sample's logits ``[K]``."""
        return list(self.logits(outputs))

    def decide(self, assessed: Tensor) -> int:
        """The most likely class."""
        return int(assessed.argmax())

    def respond(self, assessed: Tensor) -> Tensor:
        """The logits of the classes that can be predicted, ``[1, K]``."""
        return assessed[None, ~self.excluded]


def _linear_weights(path: Path, width: int) -> tuple[Tensor, Tensor]:
    tensors = read_tensors(path)
    weights = [tensor for name, tensor in tensors.items() if name.rpartition(".")[2] == "weight"]
    biases = [tensor for name, tensor in tensors.items() if name.rpartition(".")[2] == "bias"]
    if len(weights) != 1 or len(biases) != 1:
        raise DataError(f"{path} holds {sorted(tensors)}; a linear head has one weight and one bias")
    weight, bias = weights[0].float(), biases[0].float()
    if weight.dim() != 2 or weight.shape[1] != 2 * width or bias.shape != weight.shape[:1]:
        raise DataError(
            f"{path} holds weight {list(weight.shape)} and bias {list(bias.shape)}; a linear head on a backbone of "
            f"width {width} has [K, {2 * width}] and [K]"
        )
    return weight, bias
