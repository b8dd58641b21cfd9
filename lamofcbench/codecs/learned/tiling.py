"""Transforms in tiles: the same result as in one piece, to within float rounding, in bounded memory.

A transform is cut into stages, each a few layers. A stage runs on tiles with as many neighbours around them as its
layers look at; at the borders of a plane the tile ends there, so that zero padding acts as it does in one piece. Each
stage asks the one before it for the rows that it needs next, so that of the maps between stages only a few rows exist
at a time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor, nn

from lamofcbench.codecs.learned.layers import Attention, ResidualBottleneck, deconv_to_one_channel
from lamofcbench.codecs.learned.memory import trim_after

TILE = 160
"""Height and width of the largest activations that a tile may have, in pixels at their resolution."""
BAND_TILES = 3
"""Between stages, about as many pixels as so many tiles have are made at a time."""


@dataclass(frozen=True)
class Stage:
    """Layers that run together on a tile.

    Attributes:
        layers: the layers.
        scale: output over input resolution.
        margin: how many input pixels beyond a tile its output depends on.
        finest: resolution of the stage's finest activations, over that of its input.
        finest_end: the same of its input and its output alone.
    """

    layers: nn.Sequential
    scale: Fraction
    margin: int
    finest: Fraction
    finest_end: Fraction

    def tile_size(self, width: int, tile: int) -> tuple[int, int]:
        """The largest height and width of a tile in pixels of an input of some width; see `TILE`."""
        side = int(tile / self.finest)
        if width <= side:
            return side, side
        band = int(BAND_TILES * tile**2 / (width * self.finest_end**2))
        height = max(1, min(side, band))
        return height, side**2 // height


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
    rows: _Rows = _GivenRows(x)
    for stage in stages:
        rows = _StageRows(stage, rows, tile)
    return rows.take(0, rows.height)


class _Rows(Protocol):
    """A map ``[B, C, height, width]`` whose rows are asked for from the top down."""

    height: int
    width: int

    def take(self, top: int, bottom: int) -> Tensor:
        """The rows from ``top`` to ``bottom``; neither lies above that of an earlier call."""

    def drop(self, top: int) -> None:
        """Frees the rows above ``top``, which are not asked for again."""


class _GivenRows:
    """A map that its owner keeps."""

    def __init__(self, x: Tensor) -> None:
        self._x = x
        self.height, self.width = x.shape[2:]

    def take(self, top: int, bottom: int) -> Tensor:
        return self._x[:, :, top:bottom]

    def drop(self, top: int) -> None:
        pass


class _StageRows:
    """The output of a stage, made as it is asked for."""

    def __init__(self, stage: Stage, source: _Rows, tile: int) -> None:
        self._stage, self._source = stage, source
        self.height, self.width = int(source.height * stage.scale), int(source.width * stage.scale)
        self._tile_height, self._tile_width = stage.tile_size(source.width, tile)
        self._rows: Tensor | None = None
        self._top = self._bottom = 0  # of those rows

    def take(self, top: int, bottom: int) -> Tensor:
        if bottom > self._bottom:
            self.drop(top)
            step = max(1, int(self._stage.scale))
            self._extend(min(math.ceil(bottom / step) * step, self.height))
        assert self._rows is not None
        return self._rows[:, :, top - self._top : bottom - self._top]

    def drop(self, top: int) -> None:
        top = min(top, self._bottom)
        if self._rows is not None and top > self._top:
            self._rows = self._rows[:, :, top - self._top :].clone(memory_format=torch.preserve_format)
            self._top = top

    def _extend(self, bottom: int) -> None:
        """Adds the rows down to ``bottom``."""
        stage, source = self._stage, self._source
        first, last = int(self._bottom / stage.scale), int(bottom / stage.scale)
        for start, end, above, below in _spans(first, last, source.height, self._tile_height, stage):
            for left, right, before, after in _spans(0, source.width, source.width, self._tile_width, stage):
                made = _run(stage, source.take(above, below)[:, :, :, before:after])
                skipped = int((start - above) * stage.scale), int((left - before) * stage.scale)
                height, width = int((end - start) * stage.scale), int((right - left) * stage.scale)
                made = made[:, :, skipped[0] : skipped[0] + height, skipped[1] : skipped[1] + width]
                if made.shape[2:] == (bottom - self._top, self.width):
                    self._rows = made
                    continue
                if (start, left) == (first, 0):
                    self._rows = self._lengthened(made, bottom)
                assert self._rows is not None
                row, column = int(start * stage.scale) - self._top, int(left * stage.scale)
                self._rows[:, :, row : row + height, column : column + width] = made
            source.drop(end - _margin(stage))
            trim_after(made)
        self._bottom = bottom

    def _lengthened(self, made: Tensor, bottom: int) -> Tensor:
        """The rows that exist, with room for those down to ``bottom``, of the kind of what was made."""
        shape = (*made.shape[:2], bottom - self._top, self.width)
        rows = torch.empty(shape, dtype=made.dtype, device=made.device, memory_format=torch.channels_last)
        if self._rows is not None:
            rows[:, :, : self._rows.shape[2]] = self._rows
        return rows


def _run(stage: Stage, x: Tensor) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    for layer in stage.layers:  # one by one, since a container would hold its input until its end
        if isinstance(layer, nn.ConvTranspose2d) and layer.out_channels == 1:
            x = deconv_to_one_channel(layer, x)
        else:
            x = layer(x)
    return x


def _spans(first: int, last: int, size: int, tile: int, stage: Stage) -> Iterator[tuple[int, int, int, int]]:
    """Start and end of each tile along an axis, without and with its margin; all in whole output pixels.

    Args:
        first: where the first tile starts.
        last: where the last one ends.
        size: of the whole axis.
        tile: the largest size of a tile.
        stage: gives margin and scale.
    """
    step = _step(stage)
    tile = max(tile // step, 1) * step
    tiles = math.ceil((last - first) / tile)
    tile = math.ceil((last - first) / tiles / step) * step  # even ones, for the same number of them
    margin = _margin(stage)
    for start in range(first, last, tile):
        end = min(start + tile, last)
        yield start, end, max(0, start - margin), min(size, end + margin)


def _step(stage: Stage) -> int:
    """How many input pixels make one of the output."""
    return max(1, stage.scale.denominator // stage.scale.numerator)


def _margin(stage: Stage) -> int:
    """The margin in whole output pixels."""
    return math.ceil(stage.margin / _step(stage)) * _step(stage)


def _stage(layers: Sequence[nn.Module]) -> Stage:
    scale, margin = Fraction(1), Fraction(0)
    # A plane itself, before the first layer or after the last, is one channel and takes hardly any memory.
    inputs, outputs = getattr(layers[0], "in_channels", 0), getattr(layers[-1], "out_channels", 0)
    resolutions = [] if inputs == 1 else [scale]
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
    ends = [end for end, channels in ((Fraction(1), inputs), (scale, outputs)) if channels != 1]
    return Stage(nn.Sequential(*layers), scale, math.ceil(margin), max(resolutions), max(ends))


def _stride(layer: nn.Module) -> int:
    return layer.stride[0] if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) else 1


def _reach(layer: nn.Module) -> int:
    """How many pixels around one its output depends on."""
    if isinstance(layer, ResidualBottleneck):
        return 1
    if isinstance(layer, Attention):
        return 3
    return layer.kernel_size[0] // 2 if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) else 0
