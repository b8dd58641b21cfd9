"""A segmentation head of the Mask2Former kind (arXiv 2112.01527) that sees nothing but the features.

A pixel decoder joins the levels from deep to shallow; learned queries look at one level after another, each only where
its own mask of the step before lies, and end as a class and a mask each. The published DINOv3 segmenter puts an
adapter between backbone and head that looks at the RGB image again, so its tail is no function of the features (see
`lamofcbench.models.vision_heads.dinov3_segmentor`); this head's tail is.
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

LARGEST_WINDOW_COUNT = 64
LEAST_SCORE = 1e-4
"""Added to every class's score at a pixel before they are seen as a distribution, in which none is impossible."""


class Mask2FormerOptions(TrainedHeadOptions):
    """Options of a segmentation scenario.

    Attributes:
        classes: the number of classes, which the weights must have; None to take what they have.
        crop_size: side of the square windows in pixels; images are scaled until their shorter side is as long.
        stride: pixels from a window to the next; None for two thirds of ``crop_size``.
        attention_heads: of the queries' attention, which the weights do not tell.
    """

    head_file: str = "segmentation.safetensors"
    classes: int | None = None
    crop_size: int = 896
    stride: int | None = None
    attention_heads: int = 4

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the model input: a window."""
        return self.crop_size, self.crop_size


class Mask2FormerHead(VisionHead):
    """Classes and masks of learned queries, turned into a class a pixel.

    Args:
        levels: the blocks whose outputs it reads, shallow to deep.
        width: C, the width of the backbone.
        scales: of each level's map, how many pixels of the pixel decoder a patch is wide.
        hidden: channels of pixel decoder and queries.
        mask_channels: of the mask features, which have twice the resolution of the shallowest level's map.
        queries: Q.
        classes: K.
        attention_heads: of the queries' attention.
        crop_size: side of a window in pixels.
        stride: pixels from a window to the next.
    """

    name = "mask2former"
    Options: ClassVar[type[VisionOptions]] = Mask2FormerOptions
    multi_view = True
    response_kind = "logits"

    def __init__(
        self,
        levels: Sequence[int],
        width: int,
        *,
        scales: Sequence[int],
        hidden: int,
        mask_channels: int,
        queries: int,
        classes: int,
        attention_heads: int,
        crop_size: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.levels, self.crop_size, self.stride, self.classes = tuple(levels), crop_size, stride, classes
        self.pixel_decoder = PixelDecoder(width, hidden, mask_channels, scales)
        self.queries = nn.Parameter(torch.randn(queries, hidden))
        self.query_positions = nn.Parameter(torch.randn(queries, hidden))
        self.layers = nn.ModuleList(QueryLayer(hidden, attention_heads) for _ in levels)
        self.norm = nn.LayerNorm(hidden)
        self.classifier = nn.Linear(hidden, classes + 1)
        self.mask_embedding = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, mask_channels))

    @classmethod
    def load(
        cls, scenario: Scenario, options: Mask2FormerOptions, directory: Path | None, width: int
    ) -> Mask2FormerHead:
        """The head of a scenario, with its sizes as the weights have them.

        Raises:
            ScenarioError: if the options do not say where the weights are, or do not fit.
            DataError: if the weights are missing or not those of such a head.
        """
        path = options.head_path(scenario, directory)
        tensors = read_tensors(path)
        sizes = _sizes(tensors, path)
        if options.classes is not None and options.classes != sizes["classes"]:
            raise DataError(f"{path} has {sizes['classes']} classes; scenario {scenario.id!r} states {options.classes}")
        stride = options.stride if options.stride is not None else max(1, 2 * options.crop_size // 3)
        if not 1 <= stride <= options.crop_size or sizes["hidden"] % options.attention_heads:
            raise ScenarioError(
                f"scenario {scenario.id!r}: stride must be 1 to crop_size ({options.crop_size}), and attention_heads "
                f"must divide {sizes['hidden']}"
            )
        head = cls(
            scenario.splits,
            width,
            scales=_scales(tensors),
            attention_heads=options.attention_heads,
            crop_size=options.crop_size,
            stride=stride,
            **sizes,
        )
        load_weights(head, tensors, path)
        return head

    def views(self, image: np.ndarray, size: tuple[int, int]) -> Tensor:
        """The windows of an image, row by row, float32 ``[V, 3, crop_size, crop_size]``."""
        height, width = image.shape[:2]
        scaled = scaled_size(height, width, self.crop_size)
        pixels = to_pixels(image, scaled)
        rows, columns = (window_starts(length, self.crop_size, self.stride) for length in scaled)
        side = self.crop_size
        return torch.stack([pixels[:, y : y + side, x : x + side] for y in rows for x in columns])

    def side(self, image: np.ndarray) -> dict[str, int]:
        """Height and width of the image, in pixels."""
        return {"height": image.shape[0], "width": image.shape[1]}

    def steps(self, outputs: BlockOutputs) -> list[tuple[Tensor, Tensor]]:
        """Class logits ``[N, Q, K + 1]``, the last one for "nothing", and mask logits ``[N, Q, h, w]`` of the queries.

        One pair before the first layer and one after each; the last one is the prediction.
        """
        pyramid, mask_features = self.pixel_decoder([outputs.patch_map(level) for level in self.levels])
        queries = self.queries.expand(len(mask_features), -1, -1)
        steps = [self._judge(queries, mask_features)]
        for layer, level in zip(self.layers, pyramid, strict=True):
            queries = layer(queries, self.query_positions, level, _hidden_from(steps[-1][1], level))
            steps.append(self._judge(queries, mask_features))
        return steps

    def _judge(self, queries: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        queries = self.norm(queries)
        masks = torch.einsum("nqc,nchw->nqhw", self.mask_embedding(queries), mask_features)
        return self.classifier(queries), masks

    def scores(self, outputs: BlockOutputs) -> Tensor:
        """How much each class is at each pixel of the windows, ``[N, K, crop_size, crop_size]``, 0 to Q."""
        return self.semantic(*self.steps(outputs)[-1])

    def semantic(self, class_logits: Tensor, mask_logits: Tensor) -> Tensor:
        """The scores of a step's class and mask logits."""
        masks = _resized(mask_logits, (self.crop_size, self.crop_size)).sigmoid()
        return torch.einsum("nqk,nqhw->nkhw", class_logits.softmax(dim=-1)[..., :-1], masks)

    def assess(self, outputs: BlockOutputs) -> list[Tensor]:
        """How much each class is at each pixel of each image, ``[K, height, width]``, 0 to Q.

        Raises:
            ScenarioError: if the side information does not tell of an image with as many windows as there are.
        """
        sizes = [self._checked_size(side, count) for side, count in zip(outputs.sides, outputs.views, strict=True)]
        windows = self.scores(outputs).split(list(outputs.views))
        return [self._joined(part, size) for part, size in zip(windows, sizes, strict=True)]

    def decide(self, assessed: Tensor) -> np.ndarray:
        """The class of each pixel, uint8 or uint16 ``[height, width]``."""
        return assessed.argmax(dim=0).cpu().numpy().astype(np.uint8 if self.classes <= 256 else np.uint16)

    def respond(self, assessed: Tensor) -> Tensor:
        """The logarithms of the classes' scores at each pixel, ``[height * width, K]``.

        Their softmax is the classes' shares of a pixel's score. It is taken at the image's own pixels, where classes
        are decided: the masks' sigmoid stands behind an upsampling, so the smaller maps before it decide nothing.
        """
        return (assessed.flatten(1).T + LEAST_SCORE).log()

    def response_length(self, side: Mapping[str, int]) -> int:
        """The pixels of the image."""
        height, width = image_size(side)
        return height * width

    def _checked_size(self, side: Mapping[str, int], count: int) -> tuple[int, int]:
        height, width = image_size(side)
        scaled = scaled_size(height, width, self.crop_size)
        rows, columns = (_window_count(length, self.crop_size, self.stride) for length in scaled)
        if rows * columns != count or count > LARGEST_WINDOW_COUNT:
            raise ScenarioError(
                f"features hold {count} windows; an image of {height} x {width} pixels has {rows * columns}, and "
                f"{LARGEST_WINDOW_COUNT} at most can be joined"
            )
        return height, width

    def _joined(self, windows: Tensor, size: tuple[int, int]) -> Tensor:
        """The scores of an image ``[K, *size]`` from those of its windows ``[V, K, crop_size, crop_size]``."""
        scaled = scaled_size(*size, self.crop_size)
        rows, columns = (window_starts(length, self.crop_size, self.stride) for length in scaled)
        total, count = windows.new_zeros(self.classes, *scaled), windows.new_zeros(scaled)
        corners = [(y, x) for y in rows for x in columns]
        for (y, x), window in zip(corners, windows, strict=True):
            total[:, y : y + self.crop_size, x : x + self.crop_size] += window
            count[y : y + self.crop_size, x : x + self.crop_size] += 1
        return _resized((total / count)[None], size)[0]


class PixelDecoder(nn.Module):
    """Joins the levels' maps from deep to shallow.

    Args:
        width: channels of the maps.
        hidden: channels of what it makes of them.
        mask_channels: of the mask features.
        scales: of each level, shallow to deep: how many pixels a patch becomes, never more for a deeper level.
    """

    def __init__(self, width: int, hidden: int, mask_channels: int, scales: Sequence[int]) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.ConvTranspose2d(width, hidden, scale, scale) for scale in scales)
        self.joints = nn.ModuleList(
            nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1), nn.GroupNorm(8, hidden), nn.GELU()) for _ in scales
        )
        self.mask_features = nn.ConvTranspose2d(hidden, mask_channels, 2, 2)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """The pyramid, deep to shallow, ``[N, hidden, h, w]`` each, and the mask features ``[N, M, 2h, 2w]``.

        Args:
            maps: of the levels, shallow to deep, ``[N, width, rows, columns]`` each.
        """
        pyramid: list[Tensor] = []
        for lateral, joint, level in reversed(list(zip(self.laterals, self.joints, maps, strict=True))):
            joined = lateral(level)
            if pyramid:
                joined = joined + functional.interpolate(pyramid[-1], joined.shape[2:], mode="nearest")
            pyramid.append(joint(joined))
        return pyramid, self.mask_features(pyramid[-1])


class QueryLayer(nn.Module):
    """Masked cross-attention to a level, self-attention among the queries, and a feed-forward network.

    Args:
        hidden: channels.
        attention_heads: of both attentions.
    """

    def __init__(self, hidden: int, attention_heads: int) -> None:
        super().__init__()
        self.attention_heads = attention_heads
        self.cross = nn.MultiheadAttention(hidden, attention_heads, batch_first=True)
        self.own = nn.MultiheadAttention(hidden, attention_heads, batch_first=True)
        self.network = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.ReLU(), nn.Linear(4 * hidden, hidden))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))

    def forward(self, queries: Tensor, positions: Tensor, level: Tensor, hidden_from: Tensor) -> Tensor:
        """The queries after the layer, ``[N, Q, hidden]``.

        Args:
            queries: ``[N, Q, hidden]``.
            positions: learned, ``[Q, hidden]``.
            level: ``[N, hidden, h, w]``.
            hidden_from: True where a query does not look, bool ``[N, Q, h * w]``.
        """
        values = level.flatten(2).transpose(1, 2)
        keys = values + sine_positions(level)
        blocked = hidden_from.repeat_interleave(self.attention_heads, dim=0)
        found = self.cross(queries + positions, keys, values, attn_mask=blocked, need_weights=False)[0]
        queries = self.norms[0](queries + found)
        asked = queries + positions
        queries = self.norms[1](queries + self.own(asked, asked, queries, need_weights=False)[0])
        return self.norms[2](queries + self.network(queries))


def _hidden_from(mask_logits: Tensor, level: Tensor) -> Tensor:
    """Where queries do not look: outside their masks; a query with an empty mask looks everywhere."""
    outside = ~(_resized(mask_logits.detach(), level.shape[2:]).flatten(2) > 0)
    return outside & ~outside.all(dim=-1, keepdim=True)


def sine_positions(level: Tensor) -> Tensor:
    """Sines and cosines of rows and columns at several frequencies, ``[h * w, C]`` for a map ``[N, C, h, w]``."""
    channels, height, width = level.shape[1:]
    count = channels // 4
    frequencies = 16.0 ** (torch.arange(count, device=level.device, dtype=level.dtype) / count)
    halves = []
    for length in (height, width):
        place = (torch.arange(length, device=level.device, dtype=level.dtype) + 0.5) / length
        angle = place[:, None] * frequencies * torch.pi
        halves.append(torch.cat([angle.sin(), angle.cos()], dim=-1))
    rows, columns = halves
    grid = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1)
    return functional.pad(grid.flatten(0, 1), (0, channels - grid.shape[-1]))


def scaled_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of an image scaled until its shorter side is ``side`` pixels long.

    Example:
        >>> scaled_size(100, 250, 32), scaled_size(64, 32, 32)
        ((32, 80), (64, 32))
    """
    shorter = min(height, width)
    return (2 * height * side + shorter) // (2 * shorter), (2 * width * side + shorter) // (2 * shorter)


def window_starts(length: int, side: int, stride: int) -> list[int]:
    """Where windows start along an axis; the last one is moved back to end with it.

    Example:
        >>> window_starts(32, 32, 16), window_starts(56, 32, 16)
        ([0], [0, 16, 24])
    """
    return [min(index * stride, length - side) for index in range(_window_count(length, side, stride))]


def _window_count(length: int, side: int, stride: int) -> int:
    return 1 + max(0, -(-(length - side) // stride))


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return functional.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


def _scales(tensors: Mapping[str, Tensor]) -> list[int]:
    laterals = sorted(
        name for name in tensors if name.startswith("pixel_decoder.laterals.") and name.endswith("weight")
    )
    return [tensors[name].shape[-1] for name in laterals]


def _sizes(tensors: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    """What the weights tell of a head's sizes."""
    try:
        queries, hidden = tensors["queries"].shape
        classes = tensors["classifier.bias"].shape[0] - 1
        mask_channels = tensors["mask_embedding.2.bias"].shape[0]
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{path} holds no image-free Mask2Former head (no tensor {error}); the published weights of DINOv3's "
            "segmenter, whose adapter needs the image beside the features, go with head 'dinov3-segmentor'"
        ) from error
    return {"queries": queries, "hidden": hidden, "classes": classes, "mask_channels": mask_channels}
