"""The depth head that DINOv3's authors published, for its ViT-7B/16: a DPT (arXiv 2103.13413) with batch norms.

Modules are named as in ``dinov3_vit7b16_synthmix_dpt_head-02040be1.pth``, so that the file loads strictly. What
surrounds them is that of `DPTHead`: two views, a depth as a mean of bins, the mean of the views at the image's size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.models.vision_heads.base import BlockOutputs, TrainedHeadOptions, VisionHead, VisionOptions
from lamofcbench.models.vision_heads.dpt import LEAST_WEIGHT, DPTHead
from lamofcbench.models.vision_heads.published import load_published, size_of
from lamofcbench.scenarios.base import Scenario

LEVELS = 4


class DINOv3DPTOptions(TrainedHeadOptions):
    """Options of a depth scenario with the published head.

    Attributes:
        image_size: height and width of the model input; images of another shape than that are refused.
        min_depth: of the first bin, in metres.
        max_depth: of the last bin, in metres.
    """

    head_file: str = "dinov3_vit7b16_synthmix_dpt_head-02040be1.pth"
    image_size: int | tuple[int, int] = (768, 1024)
    min_depth: float = 0.001
    max_depth: float = 100.0


class DINOv3DPTHead(DPTHead):
    """Depth maps of an image and its horizontal flip, averaged; the published network.

    Args:
        levels: the four blocks whose outputs it reads, shallow to deep.
        width: C, the width of the backbone.
        projected: channels of the levels' maps while they are resized.
        hidden: channels of the fusion.
        head_channels: of the head's two inner maps.
        bins: how many depths are mixed.
        depths: of the first and the last bin, in metres.
    """

    name = "dinov3-dpt"
    Options: ClassVar[type[VisionOptions]] = DINOv3DPTOptions

    def __init__(
        self,
        levels: Sequence[int],
        width: int = 4096,
        *,
        projected: int = 2048,
        hidden: int = 512,
        head_channels: tuple[int, int] = (256, 32),
        bins: int = 256,
        depths: tuple[float, float] = (0.001, 100.0),
    ) -> None:
        VisionHead.__init__(self)  # the parent's modules are others
        self.levels, self.bin_count, self.bin_range = tuple(levels), bins, depths
        self.reassemble_blocks = Reassembly(width, projected)
        self.convs = nn.ModuleList(Convolution(_three(projected, hidden)) for _ in range(LEVELS))
        self.fusion_blocks = nn.ModuleList(FusionBlock(hidden, joins=index > 0) for index in range(LEVELS))
        self.project = Convolution(nn.Conv2d(hidden, hidden, 3, padding=1))
        self.conv_depth = DepthConvolutions(hidden, head_channels, bins)

    @classmethod
    def load(cls, scenario: Scenario, options: Any, directory: Path | None, width: int) -> DINOv3DPTHead:
        """The head of a scenario, with its sizes as the weights have them.

        Raises:
            ScenarioError: if the options do not say where the weights are, or do not fit.
            DataError: if the weights are missing or not those of such a head.
        """
        if not 0 < options.min_depth < options.max_depth:
            raise ScenarioError(f"scenario {scenario.id!r}: depths must be 0 < min_depth < max_depth")
        if len(scenario.splits) != LEVELS:
            raise ScenarioError(f"scenario {scenario.id!r}: head {cls.name!r} reads {LEVELS} levels of blocks")

        def make(tensors: Mapping[str, Tensor]) -> DINOv3DPTHead:
            return cls(
                scenario.splits,
                width,
                projected=size_of(tensors, "reassemble_blocks.projects.0.conv.weight", 0, 2048),
                hidden=size_of(tensors, "project.conv.weight", 0, 512),
                head_channels=(
                    size_of(tensors, "conv_depth.head.0.weight", 0, 256),
                    size_of(tensors, "conv_depth.head.2.weight", 0, 32),
                ),
                bins=size_of(tensors, "conv_depth.head.4.weight", 0, 256),
                depths=(options.min_depth, options.max_depth),
            )

        return load_published(options.head_path(scenario, directory), make)

    def views(self, image: np.ndarray, size: tuple[int, int]) -> Tensor:
        """The image and its horizontal flip, resized, float32 ``[2, 3, height, width]``.

        Raises:
            DataError: if the image has another shape than the model input, to which it would have to be stretched.
        """
        height, width = image.shape[:2]
        shorter, side = min(height, width), min(size)
        resized = (side * height // shorter, side * width // shorter)  # the longer side rounds down
        if resized != tuple(size):
            raise DataError(
                f"an image of {height} x {width} pixels becomes {resized[0]} x {resized[1]}; the model input is "
                f"{size[0]} x {size[1]}, set option image_size"
            )
        return super().views(image, size)

    def depths(self, outputs: BlockOutputs) -> Tensor:
        """Depth maps of all views as they are, in metres, ``[N, 16 rows, 16 columns]`` of a grid of patches."""
        maps = self.reassemble_blocks([outputs.patch_map(level) for level in self.levels])
        maps = [conv(level) for conv, level in zip(self.convs, maps, strict=True)]
        joined: Tensor | None = None
        for fusion, level in zip(self.fusion_blocks, reversed(maps), strict=True):
            joined = fusion(level, joined)
        logits = self.conv_depth(self.project(joined).relu())
        weights = logits.relu() + LEAST_WEIGHT
        bins = torch.linspace(*self.bin_range, self.bin_count, device=logits.device, dtype=logits.dtype)
        return torch.einsum("nbhw,b->nhw", weights / weights.sum(dim=1, keepdim=True), bins)


class Convolution(nn.Module):
    """A convolution under the name that the file gives it, as in ``projects.0.conv.weight``."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, values: Tensor) -> Tensor:
        """Of ``[N, C, h, w]``."""
        return self.conv(values)


class Reassembly(nn.Module):
    """The levels' maps at four, two, one and half a pixel a patch.

    Args:
        width: channels of the maps that come.
        projected: channels of the maps that go.
    """

    def __init__(self, width: int, projected: int) -> None:
        super().__init__()
        self.projects = nn.ModuleList(Convolution(nn.Conv2d(width, projected, 1)) for _ in range(LEVELS))
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(projected, projected, 4, 4),
                nn.ConvTranspose2d(projected, projected, 2, 2),
                nn.Identity(),
                nn.Conv2d(projected, projected, 3, stride=2, padding=1),
            ]
        )
        self.batchnorm_layers = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(LEVELS))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """``[N, projected, s rows, s columns]`` of each ``[N, width, rows, columns]``, with s = 4, 2, 1, 1/2."""
        stages = zip(self.batchnorm_layers, self.projects, self.resize_layers, maps, strict=True)
        return [resize(project(norm(level))) for norm, project, resize, level in stages]


class FusionBlock(nn.Module):
    """Adds a level to what the deeper ones came to, and doubles the resolution.

    Args:
        hidden: channels.
        joins: False for the deepest level, before which there is nothing.
    """

    def __init__(self, hidden: int, *, joins: bool) -> None:
        super().__init__()
        self.project = Convolution(nn.Conv2d(hidden, hidden, 1))
        self.res_conv_unit1 = ResidualConvolutions(hidden) if joins else None
        self.res_conv_unit2 = ResidualConvolutions(hidden)

    def forward(self, level: Tensor, deeper: Tensor | None) -> Tensor:
        """``[N, hidden, 2h, 2w]`` of the deeper levels' outcome ``[N, hidden, h, w]``, or of the deepest level."""
        joined = level
        if deeper is not None:
            assert self.res_conv_unit1 is not None
            if level.shape != deeper.shape:  # an odd number of patches was halved
                level = functional.interpolate(level, deeper.shape[2:], mode="bilinear", align_corners=False)
            joined = deeper + self.res_conv_unit1(level)
        doubled = functional.interpolate(
            self.res_conv_unit2(joined), scale_factor=2, mode="bilinear", align_corners=True
        )
        return self.project(doubled)


class ResidualConvolutions(nn.Module):
    """Two 3x3 convolutions without bias, each after a ReLU, beside the identity; ``[N, hidden, h, w]`` both ways."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (Convolution(_three(hidden, hidden)) for _ in range(2))

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        return values + self.conv2(self.conv1(values.relu()).relu())


class DepthConvolutions(nn.Module):
    """Logits of bins at twice the resolution of a map.

    Args:
        hidden: channels of the map.
        channels: of the two inner maps.
        bins: channels of the logits.
    """

    def __init__(self, hidden: int, channels: tuple[int, int], bins: int) -> None:
        super().__init__()
        wide, narrow = channels
        self.head = nn.Sequential(
            nn.Conv2d(hidden, wide, 3, padding=1),
            nn.UpsamplingBilinear2d(scale_factor=2),  # with corners aligned
            nn.Conv2d(wide, narrow, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(narrow, bins, 1),
        )

    def forward(self, values: Tensor) -> Tensor:
        """``[N, bins, 2h, 2w]`` of ``[N, hidden, h, w]``."""
        return self.head(values)


def _three(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
