"""The vision head contract: from the block outputs of a vision transformer to predictions.

A head is a file: subclass `VisionHead`, and scenarios name it in their backbone's options (``"head": "linear"``, or
``":MyHead"`` for a class in the scenario's own file).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from lamofcbench.models.images import to_pixels
from lamofcbench.models.loading import AdapterOptions
from lamofcbench.registry import Registry
from lamofcbench.scenarios.base import Scenario


class VisionOptions(AdapterOptions):
    """A vision backbone's options; a head's own ``Options`` add to them.

    Attributes:
        image_size: side of the square model input in pixels, or its height and width.
        head: registered head, ``file.py:NAME``, or ``:NAME`` in the scenario's own file.
    """

    image_size: int | tuple[int, int] = 224
    head: str = "linear"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the model input."""
        return self.image_size if isinstance(self.image_size, tuple) else (self.image_size, self.image_size)


@dataclass(frozen=True)
class BlockOutputs:
    """What a head sees of a batch.

    Attributes:
        blocks: block index to its output ``[N, T, C]``, before the backbone's final norm: the split levels, and the
            last block, which the tail computes where it is no split level itself. N counts views over all samples.
        views: how many of the N belong to each sample, in order.
        sides: each sample's side information.
        norm: the backbone's final norm.
        prefix_tokens: class token and registers, which stand before the patch tokens.
    """

    blocks: Mapping[int, Tensor]
    views: Sequence[int]
    sides: Sequence[Mapping[str, int]]
    norm: nn.Module
    prefix_tokens: int

    @property
    def last(self) -> Tensor:
        """The last block's output, ``[N, T, C]``."""
        return self.blocks[max(self.blocks)]


class VisionHead(nn.Module, ABC):
    """Predicts from block outputs.

    Class attributes:
        name: what scenarios name.
        Options: the backbone options that go with this head.
        multi_view: True where features keep a leading axis of views (crops, flips): ``[V, T, C]`` in place of
            ``[T, C]``.
    """

    name: ClassVar[str]
    Options: ClassVar[type[VisionOptions]] = VisionOptions
    multi_view: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def load(cls, scenario: Scenario, options: Any, directory: Path | None, width: int) -> VisionHead:
        """The head with its weights.

        Args:
            scenario: for references to files and repositories.
            options: the scenario's options, an instance of ``Options``.
            directory: the folder of the backbone's weights; None where they are on the Hub.
            width: C, the width of the backbone.
        """

    def views(self, image: np.ndarray, size: tuple[int, int]) -> Tensor:
        """The model inputs of an image, float32 ``[V, 3, height, width]``: the whole image, resized."""
        return to_pixels(image, size)[None]

    def side(self, image: np.ndarray) -> dict[str, int]:
        """The side information of an image; none here."""
        return {}

    @abstractmethod
    def predict(self, outputs: BlockOutputs) -> list[Any]:
        """A prediction for each sample."""


HEADS: Registry[type[VisionHead]] = Registry(
    "vision head", VisionHead, package="lamofcbench.models.vision_heads", group="lamofcbench.vision_heads"
)
