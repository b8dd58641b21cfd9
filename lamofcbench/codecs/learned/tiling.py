"""Transforms in tiles: the same result as in one piece, to within float rounding, in bounded memory.

A transform is cut into stages, each a few layers. A stage runs on tiles with as many neighbours around them as its
layers look at; at the borders of a plane the tile ends there, so that zero padding acts as it does in one piece. What
memory grows with is then one stage's output, at a quarter of the plane's resolution or less, and no longer the
activations at half of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from lamofcbench.codecs.learned.layers import Attention, ResidualBottleneck

TILE = 160
"""Height and width of the largest activations that a tile may have, in pixels at their resolution."""


@dataclass(frozen=True)
class Stage:
    """Layers that run together on a tile.

    Attributes:
        layers: the layers.
        scale: output over input resolution.
        margin: how many input pixels beyond a tile its output depends on.
        finest: resolution of the stage's finest activations, over that of its input.
    """

    layers: nn.Sequential
    scale: Fraction
    margin: int
    finest: Fraction


def stages_of(transform: nn.Sequential) -> list[Stage]:
    """Stages of an analysis or synthesis transform: all that is done at half a plane's resolution, and the rest."""
    layers = list(transform)
    strided = [i for i, layer in enumerate(layers) if _stride(layer) > 1]
    analysis = isinstance(layers[strided[0]], nn.Conv2d)
    cuts = [strided[1] + 1, strided[2] + 1] if analysis else [strided[0] + 1, strided[1] + 1, strided[2]]
    ends = [0, *cuts, len(layers)]
    return [_stage(layers[a:b]) for a, b in itertools.pairwise(ends)]


def run_tiled(stages: Sequence[Stage], x: Tensor, tile: int = TILE) -> Tensor:
    """Runs stages over ``[B, C, H, W]``, tile by tile where it is larger than a tile.

    Args:
        stages: in order.
        x: the input; sizes divisible by what the stages divide by.
        tile: see `TILE`.
    """
    for stage in stages:
        x = _run_stage(stage, x, int(tile / stage.finest))
    return x


def _run_stage(stage: Stage, x: Tensor, tile: int) -> Tensor:
    batch, _, height, width = x.shape
    if height <= tile and width <= tile:
        return stage.layers(x)
    out: Tensor | None = None
    for top, bottom, above, below in _spans(height, tile, stage):
        for left, right, before, after in _spans(width, tile, stage):
            piece = x[:, :, above:below, before:after].contiguous(memory_format=torch.channels_last)
            result = stage.layers(piece)
            if out is None:
                shape = batch, result.shape[1], int(height * stage.scale), int(width * stage.scale)
                out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
            skipped = int((top - above) * stage.scale), int((left - before) * stage.scale)
            size = int((bottom - top) * stage.scale), int((right - left) * stage.scale)
            place = int(top * stage.scale), int(left * stage.scale)
            out[:, :, place[0] : place[0] + size[0], place[1] : place[1] + size[1]] = result[
                :, :, skipped[0] : skipped[0] + size[0], skipped[1] : skipped[1] + size[1]
            ]
    assert out is not None
    return out


def _spans(size: int, tile: int, stage: Stage) -> Iterator[tuple[int, int, int, int]]:
    """Start and end of each tile along an axis, without and with its margin; all in whole output pixels."""
    step = max(1, stage.scale.denominator // stage.scale.numerator)
    tile = max(tile // step, 1) * step
    tiles = math.ceil(size / tile)
    tile = math.ceil(size / tiles / step) * step  # even ones, for the same number of them
    margin = math.ceil(stage.margin / step) * step
    for start in range(0, size, tile):
        end = min(start + tile, size)
        yield start, end, max(0, start - margin), min(size, end + margin)


def _stage(layers: Sequence[nn.Module]) -> Stage:
    scale, margin = Fraction(1), Fraction(0)
    # A plane itself, before the first layer or after the last, is one channel and takes hardly any memory.
    resolutions = [] if getattr(layers[0], "in_channels", 0) == 1 else [scale]
    for layer in layers:
        stride, reach = _stride(layer), _reach(layer)
        if isinstance(layer, nn.ConvTranspose2d):
            margin += Fraction(math.ceil(Fraction(reach, stride))) / scale
            scale *= stride
        else:
            margin += reach / scale
            scale /= stride
        if getattr(layer, "out_channels", 0) != 1:
            resolutions.append(scale)
    return Stage(nn.Sequential(*layers), scale, math.ceil(margin), max(resolutions))


def _stride(layer: nn.Module) -> int:
    return layer.stride[0] if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) else 1


def _reach(layer: nn.Module) -> int:
    """How many pixels around one its output depends on."""
    if isinstance(layer, ResidualBottleneck):
        return 1
    if isinstance(layer, Attention):
        return 3
    return layer.kernel_size[0] // 2 if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) else 0
