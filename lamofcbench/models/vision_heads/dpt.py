"""A depth head of the DPT kind (arXiv 2103.13413): four levels, put together again as maps and joined coarse to fine.

As in DINOv3's own depth head, the backbone's final norm is applied to every level, the class token is not read, and a
pixel's depth is a mean of evenly spaced bins, weighted by logits that a ReLU and a division make positive and sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.models.images import to_pixels
from lamofcbench.models.loading import read_tensors
from lamofcbench.models.vision_heads.base import (
    BlockOutputs,
    TrainedHeadOptions,
    VisionHead,
    VisionOptions,
    image_size,
    load_weights,
)
from lamofcbench.scenarios.base import Scenario

LEAST_WEIGHT = 0.1  # of a bin, before they are made to sum to 1


class DPTOptions(TrainedHeadOptions):
    """Options of a depth scenario.

    Attributes:
        scales: of each level's map, how many pixels a patch becomes; halved from level to level.
        min_depth: of the first bin, in metres.
        max_depth: of the last bin, in metres.
    """

    head_file: str = "depth.safetensors"
    scales: tuple[float, ...] = (4, 2, 1, 0.5)
    min_depth: float = 0.001
    max_depth: float = 100.0


class DPTHead(VisionHead):
    """Depth maps of an image and its horizontal flip, averaged.

    Args:
        levels: the blocks whose outputs it reads, shallow to deep.
        width: C, the width of the backbone.
        scales: of each level's map, how many pixels a patch becomes.
        hidden: channels.
        bins: how many depths are mixed.
        depths: of the first and the last bin, in metres.
    """

    name = "dpt"
    Options: ClassVar[type[VisionOptions]] = DPTOptions
    multi_view = True
    response_kind = "values"

    def __init__(
        self,
        levels: Sequence[int],
        width: int,
        *,
        scales: Sequence[float],
        hidden: int,
        bins: int,
        depths: tuple[float, float],
    ) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.reassemble = nn.ModuleList(_reassembly(width, hidden, scale) for scale in scales)
        self.fusions = nn.ModuleList(Fusion(hidden, joins=level > 0) for level in range(len(self.levels)))
        self.head = nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, bins, 1))
        self.register_buffer("bins", torch.linspace(*depths, bins), persistent=False)

    @classmethod
    def load(cls, scenario: Scenario, options: DPTOptions, directory: Path | None, width: int) -> DPTHead:
        """The head of a scenario, with its sizes as the weights have them.

        Raises:
            ScenarioError: if the options do not say where the weights are, or do not fit.
            DataError: if the weights are missing or not those of such a head.
        """
        if not 0 < options.min_depth < options.max_depth:
            raise ScenarioError(f"scenario {scenario.id!r}: depths must be 0 < min_depth < max_depth")
        if len(options.scales) != len(scenario.splits) or not all(map(_is_scale, options.scales)):
            raise ScenarioError(
                f"scenario {scenario.id!r}: scales must be {len(scenario.splits)} powers of two, one a split level"
            )
        path = options.head_path(scenario, directory)
        tensors = read_tensors(path)
        bins, hidden = _sizes(tensors, path)
        head = cls(
            scenario.splits,
            width,
            scales=options.scales,
            hidden=hidden,
            bins=bins,
            depths=(options.min_depth, options.max_depth),
        )
        load_weights(head, tensors, path)
        return head

    def views(self, image: np.ndarray, size: tuple[int, int]) -> Tensor:
        """The image and its horizontal flip, resized, float32 ``[2, 3, height, width]``."""
        pixels = to_pixels(image, size)
        return torch.stack([pixels, pixels.flip(-1)])

    def side(self, image: np.ndarray) -> dict[str, int]:
        """Height and width of the image, in pixels."""
        return {"height": image.shape[0], "width": image.shape[1]}

    def depths(self, outputs: BlockOutputs) -> Tensor:
        """Depth maps of all views as they are, in metres, ``[N, h, w]``."""
        maps = [outputs.patch_map(level) for level in self.levels]
        joined: Tensor | None = None
        for fusion, reassemble, level in reversed(
            list(zip(reversed(self.fusions), self.reassemble, maps, strict=True))
        ):
            joined = fusion(reassemble(level), joined)
        weights = self.head(joined).relu() + LEAST_WEIGHT
        return torch.einsum("nbhw,b->nhw", weights / weights.sum(dim=1, keepdim=True), self.bins)

    def assess(self, outputs: BlockOutputs) -> list[Tensor]:
        """Each image's depth map in metres, ``[height, width]``.

        Raises:
            ScenarioError: if the side information does not tell of an image.
        """
        sizes = [image_size(side) for side in outputs.sides]
        return [
            _upright_mean(views, size)
            for views, size in zip(self.depths(outputs).split(list(outputs.views)), sizes, strict=True)
        ]

    def decide(self, assessed: Tensor) -> np.ndarray:
        """The depth map, float32 ``[height, width]``."""
        return assessed.float().cpu().numpy()

    def respond(self, assessed: Tensor) -> Tensor:
        """The depth of each pixel, ``[height * width, 1]``."""
        return assessed.reshape(-1, 1)

    def response_length(self, side: Mapping[str, int]) -> int:
        """The pixels of the image."""
        height, width = image_size(side)
        return height * width


class Fusion(nn.Module):
    """Adds a level to what the deeper ones came to, and doubles the resolution.

    Args:
        hidden: channels.
        joins: False for the deepest level, before which there is nothing.
    """

    def __init__(self, hidden: int, *, joins: bool) -> None:
        super().__init__()
        self.arriving = ResidualUnit(hidden) if joins else None
        self.joint = ResidualUnit(hidden)
        self.project = nn.Conv2d(hidden, hidden, 1)

    def forward(self, level: Tensor, deeper: Tensor | None) -> Tensor:
        """``[N, hidden, 2h, 2w]`` of a level ``[N, hidden, h, w]`` and the deeper ones' outcome of the same size."""
        if deeper is not None:
            assert self.arriving is not None
            if deeper.shape != level.shape:  # an odd number of patches was halved
                deeper = functional.interpolate(deeper, level.shape[2:], mode="bilinear", align_corners=False)
            level = deeper + self.arriving(level)
        doubled = functional.interpolate(self.joint(level), scale_factor=2, mode="bilinear", align_corners=True)
        return self.project(doubled)


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions, each after a ReLU, beside the identity; ``[N, hidden, h, w]`` both ways."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1)
        )

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        return values + self.convolutions(values)


def _reassembly(width: int, hidden: int, scale: float) -> nn.Module:
    """A level's map at its scale, and with the head's channels."""
    resize: nn.Module
    if scale >= 1:
        resize = nn.ConvTranspose2d(hidden, hidden, int(scale), int(scale))
    else:
        resize = nn.Conv2d(hidden, hidden, 3, stride=round(1 / scale), padding=1)
    return nn.Sequential(nn.Conv2d(width, hidden, 1), resize, nn.Conv2d(hidden, hidden, 3, padding=1))


def _upright_mean(views: Tensor, size: tuple[int, int]) -> Tensor:
    """One map from those of the image and its flip, at the image's size."""
    upright, flipped = views
    mean = (upright + flipped.flip(-1)) / 2
    if tuple(mean.shape) != size:
        mean = functional.interpolate(mean[None, None], size, mode="bilinear", align_corners=False)[0, 0]
    return mean


def _is_scale(scale: float) -> bool:
    return scale in {2.0**power for power in range(-3, 4)}


def _sizes(tensors: Mapping[str, Tensor], path: Path) -> tuple[int, int]:
    """The numbers of bins and channels."""
    try:
        bins, hidden = tensors["head.2.weight"].shape[:2]
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path} holds no DPT head of ours (no tensor 'head.2.weight'); the published weights of DINOv3's depth "
            "head go with head 'dinov3-dpt'"
        ) from error
    return bins, hidden
