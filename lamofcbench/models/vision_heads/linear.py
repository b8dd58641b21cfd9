"""The linear classification head of DINOv3: class token and mean patch token of the last block, normalised."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lamofcbench.errors import DataError, ScenarioError, UnknownNameError
from lamofcbench.imagenet.classes import SUBSETS, subset_classes
from lamofcbench.models.images import centre_square
from lamofcbench.models.loading import read_tensors
from lamofcbench.models.vision_heads.base import BlockOutputs, TrainedHeadOptions, VisionHead, VisionOptions
from lamofcbench.scenarios.base import Scenario


class LinearOptions(TrainedHeadOptions):
    """Options of a classification scenario.

    Attributes:
        classes: the number of classes, which the weights must have; None to take what they have.
        class_indices: the only classes that can be predicted; None for those of ``class_subset``.
        class_subset: ``imagenet-a`` or ``imagenet-r``, whose 200 classes are known; any other name is for people, and
            the indices count. None for all classes.
        resize: ``stretch`` makes the whole image as high and wide as the input; ``centre-square`` is the published way,
            the middle square of the image with its shorter side resized.
    """

    classes: int | None = None
    class_indices: tuple[int, ...] | None = None
    class_subset: str | None = None
    resize: Literal["stretch", "centre-square"] = "stretch"


class LinearHead(VisionHead):
    """One linear layer on ``cat(class token, mean of patch tokens)``; registers are left out.

    Args:
        weight: ``[K, 2C]``.
        bias: ``[K]``.
        class_indices: the only classes that can be predicted; None for all K.
        centred: True where the input is the middle square of an image; False where it is the whole, stretched.
    """

    name = "linear"
    Options: ClassVar[type[VisionOptions]] = LinearOptions
    response_kind = "logits"
    excluded: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        class_indices: tuple[int, ...] | None = None,
        *,
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.centred = centred
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
        indices = _chosen_classes(scenario, options)
        centred = options.resize == "centre-square"
        if centred and options.size[0] != options.size[1]:
            raise ScenarioError(f"scenario {scenario.id!r}: resize 'centre-square' needs a square image_size")
        path = options.head_path(scenario, directory)
        weight, bias = _linear_weights(path, width)
        classes = len(bias)
        if options.classes is not None and options.classes != classes:
            raise DataError(f"{path} has {classes} classes; scenario {scenario.id!r} states {options.classes}")
        wrong = [index for index in indices or () if not 0 <= index < classes]
        if wrong or indices == ():
            raise ScenarioError(f"scenario {scenario.id!r}: class_indices must lie in 0..{classes - 1}: {wrong}")
        return cls(weight, bias, indices, centred=centred)

    def views(self, image: np.ndarray, size: tuple[int, int]) -> Tensor:
        """The model input of an image, float32 ``[1, 3, height, width]``: its middle square, or the whole of it."""
        return centre_square(image, size[0])[None] if self.centred else super().views(image, size)

    def logits(self, outputs: BlockOutputs) -> Tensor:
        """Logits ``[N, K]``, minus infinity for excluded classes."""
        tokens = outputs.norm(outputs.last).to(outputs.last.device)
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


def _chosen_classes(scenario: Scenario, options: LinearOptions) -> tuple[int, ...] | None:
    """The only classes that can be predicted; None for all."""
    if options.class_indices is not None or options.class_subset is None:
        return options.class_indices
    try:
        return subset_classes(options.class_subset)
    except UnknownNameError as error:
        raise ScenarioError(
            f"scenario {scenario.id!r}: the classes of class_subset {options.class_subset!r} are not known, only those "
            f"of {' and '.join(SUBSETS)}; list the classes in option class_indices"
        ) from error


def _linear_weights(path: Path, width: int) -> tuple[Tensor, Tensor]:
    """The only two tensors of a file, ``weight`` and ``bias``, under one prefix or none."""
    tensors = read_tensors(path)
    prefix = next((name.rpartition(".")[0] for name in sorted(tensors) if name.endswith("weight")), "")
    stem = f"{prefix}." if prefix else ""
    wrong = sorted(set(tensors) ^ {f"{stem}weight", f"{stem}bias"})
    if wrong:
        raise DataError(
            f"{path} is no linear head, which has one weight and one bias and nothing else: tensor {wrong[0]!r} is "
            + ("foreign" if wrong[0] in tensors else "missing")
        )
    weight, bias = tensors[f"{stem}weight"].float(), tensors[f"{stem}bias"].float()
    if weight.dim() != 2 or weight.shape[1] != 2 * width or bias.shape != weight.shape[:1]:
        raise DataError(
            f"{path} holds weight {list(weight.shape)} and bias {list(bias.shape)}; a linear head on a backbone of "
            f"width {width} has [K, {2 * width}] and [K]"
        )
    return weight, bias
