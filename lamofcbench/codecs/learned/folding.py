"""Puts planes on canvases, whose sizes are multiples of 64, so that little of what a network sees is padding.

A plane that fills at least `FILLED` of its own canvas keeps it, and planes of one shape run as a batch. All other
planes of a set (states of 16 or 4 columns, pooled vectors, caches of a few tokens) share one canvas: each is cut into
blocks that are put side by side, or on top of each other, to a strip 64 wide; the strips follow each other down the
columns of the canvas. Padding repeats the edge. Everything depends on shapes alone, so that a decoder needs no side
information.

``published`` gives each plane a canvas of its own, padded with zeros at the bottom and on the right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from lamofcbench.codecs.learned.network import STRIDE

Packing = Literal["folded", "published"]
Fold = Literal["side by side", "stacked", "flat"]

FILLED = 0.85
STRIP_LOSS = 1.1
"""A strip that keeps rows and columns together may be this much longer than one that merely fills its rows."""


class CanvasLayout:
    """Where the planes of one set lie.

    Args:
        shapes: height and width of each plane; none of them empty.
        packing: see the module.

    Attributes:
        canvases: ``(count, height, width)`` of each batch of canvases.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], packing: Packing) -> None:
        self._shapes, self._packing = list(shapes), packing
        self._whole: dict[tuple[int, int], list[int]] = {}
        self._strips: list[tuple[int, _Strip]] = []
        for number, shape in enumerate(self._shapes):
            if packing == "published" or _area(shape) >= FILLED * _area(_padded(shape)):
                self._whole.setdefault(shape, []).append(number)
            else:
                self._strips.append((number, _Strip.of(shape)))
        self.canvases = [(len(numbers), *_padded(shape)) for shape, numbers in self._whole.items()]
        if self._strips:
            self._shared = _shared_canvas(sum(strip.rows for _, strip in self._strips))
            self.canvases.append((1, *self._shared))

    def fill(self, planes: Sequence[Tensor]) -> list[Tensor]:
        """Batches of canvases ``[count, height, width]`` from planes ``[h, w]``, of the planes' dtype."""
        filled = []
        for shape, numbers in self._whole.items():
            batch = torch.stack([planes[number] for number in numbers])
            height, width = _padded(shape)
            filled.append(_pad(batch, height, width, edge=self._packing == "folded"))
        if self._strips:
            strips = torch.cat([strip.fold(planes[number]) for number, strip in self._strips])
            height, width = self._shared
            strips = _pad(strips[None], height * (width // STRIDE), STRIDE, edge=True)[0]
            filled.append(strips.view(-1, height, STRIDE).transpose(0, 1).reshape(1, height, width))
        return filled

    def cut(self, canvases: Sequence[Tensor]) -> list[Tensor]:
        """The planes of filled canvases; the inverse of `fill`."""
        planes: dict[int, Tensor] = {}
        for (shape, numbers), batch in zip(self._whole.items(), canvases, strict=False):
            planes.update(zip(numbers, batch[:, : shape[0], : shape[1]], strict=True))
        if self._strips:
            height = self._shared[0]
            rows = canvases[-1].reshape(height, -1, STRIDE).transpose(0, 1).reshape(-1, STRIDE)
            lengths = [strip.rows for _, strip in self._strips]
            pieces = rows[: sum(lengths)].split(lengths)
            for (number, strip), piece in zip(self._strips, pieces, strict=True):
                planes[number] = strip.unfold(piece)
        return [planes[number] for number in range(len(self._shapes))]


@dataclass(frozen=True)
class _Strip:
    """How a plane becomes rows of 64."""

    shape: tuple[int, int]
    fold_kind: Fold
    turned: bool
    rows: int

    @classmethod
    def of(cls, shape: tuple[int, int]) -> _Strip:
        """The shortest strip that keeps rows and columns together; a flat one where all of those are long."""
        shortest = math.ceil(_area(shape) / STRIDE)
        kept = []
        for turned in (False, True):
            height, width = shape[::-1] if turned else shape
            if width <= STRIDE:
                kept.append(cls(shape, "side by side", turned, math.ceil(height / (STRIDE // width))))
            kept.append(cls(shape, "stacked", turned, height * math.ceil(width / STRIDE)))
        best = min(kept, key=lambda strip: strip.rows)
        return best if best.rows <= STRIP_LOSS * shortest else cls(shape, "flat", False, shortest)

    def fold(self, plane: Tensor) -> Tensor:
        """``[rows, 64]``."""
        plane = plane.t() if self.turned else plane
        height, width = plane.shape
        if self.fold_kind == "flat":
            flat = plane.reshape(1, -1, 1)
            return _pad(flat, self.rows * STRIDE, 1, edge=True).view(self.rows, STRIDE)
        if self.fold_kind == "stacked":
            blocks = math.ceil(width / STRIDE)
            plane = _pad(plane[None], height, blocks * STRIDE, edge=True)[0]
            return plane.reshape(height, blocks, STRIDE).transpose(0, 1).reshape(-1, STRIDE)
        blocks = STRIDE // width
        plane = _pad(plane[None], self.rows * blocks, width, edge=True)[0]
        beside = plane.reshape(blocks, self.rows, width).transpose(0, 1).reshape(1, self.rows, -1)
        return _pad(beside, self.rows, STRIDE, edge=True)[0]

    def unfold(self, rows: Tensor) -> Tensor:
        """The plane."""
        height, width = self.shape[::-1] if self.turned else self.shape
        if self.fold_kind == "flat":
            plane = rows.reshape(-1)[: height * width].view(height, width)
        elif self.fold_kind == "stacked":
            plane = rows.reshape(-1, height, STRIDE).transpose(0, 1).reshape(height, -1)[:, :width]
        else:
            blocks = STRIDE // width
            beside = rows[:, : blocks * width].reshape(self.rows, blocks, width)
            plane = beside.transpose(0, 1).reshape(-1, width)[:height]
        return plane.t() if self.turned else plane


def _area(shape: tuple[int, int]) -> int:
    return shape[0] * shape[1]


def _up(size: int) -> int:
    return math.ceil(size / STRIDE) * STRIDE


def _padded(shape: tuple[int, int]) -> tuple[int, int]:
    return _up(shape[0]), _up(shape[1])


def _pad(planes: Tensor, height: int, width: int, *, edge: bool) -> Tensor:
    """``[n, h, w]`` padded at the bottom and on the right, with zeros or by repeating the edge."""
    down, right = height - planes.shape[1], width - planes.shape[2]
    if not edge:
        return functional.pad(planes, (0, right, 0, down))
    if right:
        planes = torch.cat([planes, planes[:, :, -1:].expand(-1, -1, right)], 2)
    return torch.cat([planes, planes[:, -1:].expand(-1, down, -1)], 1) if down else planes


def _shared_canvas(rows: int) -> tuple[int, int]:
    """Height and width of the canvas for strips of so many rows in total: nearly the smallest, and nearly square."""
    most = max(1, 2 * math.isqrt(math.ceil(rows / STRIDE)))
    sizes = [(_up(math.ceil(rows / columns)), columns * STRIDE) for columns in range(1, most + 1)]
    smallest = min(map(_area, sizes))
    return min(
        (size for size in sizes if _area(size) <= 1.02 * smallest), key=lambda size: (abs(size[0] - size[1]), size)
    )
