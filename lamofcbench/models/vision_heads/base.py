"""The vision head contract: from the block outputs of a vision transformer to predictions.

A head is a file: subclass `VisionHead`, and scenarios name it in their backbone's options (``"head": "linear"``, or
``":MyHead"`` for a class in the scenario's own file). It says `VisionHead.predict`; or, to show responses as well, what
predictions are made from (`VisionHead.assess`), and how they (`VisionHead.decide`) and the response
(`VisionHead.respond`) follow from that.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lamofcbench.errors import DataError, PluginError, ScenarioError
from lamofcbench.models.base import ResponseKind
from lamofcbench.models.images import to_pixels
from lamofcbench.models.loading import AdapterOptions, hub_file, local_path, require_pinned
from lamofcbench.registry import Registry
from lamofcbench.scenarios.base import Scenario

HEADS_VARIABLE = "LAMOFCBENCH_HEADS"
"""Names the folder of heads' weights that neither lie beside a backbone nor are on the Hub, such as DINOv3's."""

LARGEST_IMAGE = 2**22
"""Pixels; side information comes out of a bitstream, which must not decide how much memory a head takes."""


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


class TrainedHeadOptions(VisionOptions):
    """Options of a head with weights of its own.

    Attributes:
        head_file: the weights: a file beside the backbone's, or in ``head_repo``, or in the folder that the environment
            variable ``LAMOFCBENCH_HEADS`` names, or a path of its own.
        head_repo: the Hub repository of the head's weights.
        head_revision: its 40-digit commit.
    """

    head_file: str = "head.safetensors"
    head_repo: str | None = None
    head_revision: str | None = None

    def head_path(self, scenario: Scenario, directory: Path | None) -> Path:
        """Where the head's weights are, downloaded if need be.

        Args:
            scenario: against whose file paths are resolved.
            directory: the folder of the backbone's weights; None where they are on the Hub.

        Raises:
            ScenarioError: if the options do not say where, or do not pin it.
            DataError: if the file cannot be had from the Hub.
        """
        if self.head_repo is not None:
            require_pinned(scenario, self.head_repo, self.head_revision, "option head_revision")
            assert self.head_revision is not None
            return hub_file(self.head_repo, self.head_file, self.head_revision)
        if directory is not None:
            return directory / self.head_file
        path, bare = local_path(self.head_file, scenario), Path(self.head_file).name == self.head_file
        if bare and os.environ.get(HEADS_VARIABLE):
            return Path(os.environ[HEADS_VARIABLE]).expanduser() / self.head_file
        if self.head_file == type(self).model_fields["head_file"].default or (bare and not path.is_file()):
            raise ScenarioError(
                f"scenario {scenario.id!r} does not say where its head's weights are; let the environment variable "
                f"{HEADS_VARIABLE} name the folder with {self.head_file}, or set option head_file to a .safetensors or "
                ".pth file, or head_repo, head_revision and head_file"
            )
        return path


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
        grid: rows and columns of patches in a model input.
        given: what each sample's tail is handed beside the features; nothing where the head asks for nothing.
    """

    blocks: Mapping[int, Tensor]
    views: Sequence[int]
    sides: Sequence[Mapping[str, int]]
    norm: nn.Module
    prefix_tokens: int
    grid: tuple[int, int]
    given: Sequence[Mapping[str, Tensor]] = ()

    @property
    def last(self) -> Tensor:
        """The last block's output, ``[N, T, C]``."""
        return self.blocks[max(self.blocks)]

    def patch_map(self, block: int) -> Tensor:
        """A block's patch tokens, normalised, where they stand in the image: ``[N, C, rows, columns]``.

        Raises:
            ScenarioError: if there are not as many as a model input has.
        """
        patches = self.blocks[block][:, self.prefix_tokens :]
        rows, columns = self.grid
        if patches.shape[1] != rows * columns:
            raise ScenarioError(
                f"block {block} has {patches.shape[1]} patch tokens; a model input has {rows} x {columns} patches"
            )
        # A device map may have put the norm elsewhere.
        return self.norm(patches).to(patches.device).transpose(1, 2).unflatten(2, self.grid)


class VisionHead(nn.Module, ABC):
    """Predicts from block outputs.

    Class attributes:
        name: what scenarios name.
        revision: raised when the same block outputs would get other predictions.
        Options: the backbone options that go with this head.
        multi_view: True where features keep a leading axis of views (crops, flips): ``[V, T, C]`` in place of
            ``[T, C]``.
        response_kind: what `respond` returns; None where the head shows no responses.

    Attributes:
        backbone_autocast: the dtype that torch's autocast runs the backbone in; None to run it in its own.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1
    Options: ClassVar[type[VisionOptions]] = VisionOptions
    multi_view: ClassVar[bool] = False
    response_kind: ClassVar[ResponseKind | None] = None
    backbone_autocast: torch.dtype | None = None

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

    def given(self, image: np.ndarray) -> dict[str, Tensor]:
        """What of an image the head looks at beside the features (`Scenario.given`); nothing here."""
        return {}

    def predict(self, outputs: BlockOutputs) -> list[Any]:
        """A prediction for each sample; here what is decided from `assess`."""
        return [self.decide(assessed) for assessed in self.assess(outputs)]

    def assess(self, outputs: BlockOutputs) -> list[Tensor]:
        """What each sample's prediction is made from; differentiable in the block outputs."""
        raise PluginError(f"vision head {self.name!r} has neither a predict nor an assess of its own; write one")

    def decide(self, assessed: Tensor) -> Any:
        """A sample's prediction from what `assess` gave."""
        raise PluginError(f"vision head {self.name!r} does not say how it decides; write decide, or predict")

    def respond(self, assessed: Tensor) -> Tensor:
        """A sample's response ``[N, K]`` (`SplitModel.response`) from what `assess` gave."""
        raise PluginError(f"vision head {self.name!r} shows no responses")

    def response_length(self, side: Mapping[str, int]) -> int:
        """N, how many positions the response of a sample with this side information has; here one."""
        return 1


def image_size(side: Mapping[str, int]) -> tuple[int, int]:
    """Height and width in a sample's side information.

    Raises:
        ScenarioError: if there is no such image, or it has more than `LARGEST_IMAGE` pixels.
    """
    height, width = side["height"], side["width"]
    if height < 1 or width < 1 or height * width > LARGEST_IMAGE:
        raise ScenarioError(
            f"side information tells of an image of {height} x {width} pixels; one has 1 to {LARGEST_IMAGE} in all"
        )
    return height, width


def load_weights(head: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Puts a file's tensors, and all of them, into a head; one on the meta device takes them as its own.

    Raises:
        DataError: naming the first tensor that is missing, else the first foreign one, else the first of another shape.
    """
    expected = head.state_dict()
    problems = [
        f"{name!r} is missing (shape {list(expected[name].shape)})" for name in sorted({*expected} - {*tensors})
    ]
    problems += [
        f"{name!r} is foreign (shape {list(tensors[name].shape)})" for name in sorted({*tensors} - {*expected})
    ]
    # Names before shapes: where sizes are taken from a tensor that is missing, many others do not fit.
    problems = problems or [
        f"{name!r} has shape {list(tensors[name].shape)}, wanted: {list(tensor.shape)}"
        for name, tensor in sorted(expected.items())
        if tensors[name].shape != tensor.shape
    ]
    if problems:
        raise DataError(f"{path} does not fit the head: tensor {problems[0]} ({len(problems)} in all)")
    on_meta = any(tensor.is_meta for tensor in expected.values())
    floats = {
        name: tensor.float() if expected[name].is_floating_point() else tensor for name, tensor in tensors.items()
    }
    head.load_state_dict(floats, assign=on_meta)


HEADS: Registry[type[VisionHead]] = Registry(
    "vision head", VisionHead, package="lamofcbench.models.vision_heads", group="lamofcbench.vision_heads"
)
