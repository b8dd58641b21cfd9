"""Lays the planes of a whole feature set out on a few pages, the images that image and video codecs code, and back.

A sample is many planes of odd shapes (``1x768``, ``256x4``, ``40x64``), while an image codec has a header an image,
works in blocks of 8 and more, and refuses small or narrow images. So narrow planes are folded, all planes are put side
by side on shelves, each at a multiple of `ALIGNMENT` and continued to the next one by repeating its last row and
column, and what fits on one page is one image. The layout follows from the shapes, which both sides know.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamofcbench.errors import CodecError
from lamofcbench.features import pack, plane_shape, unpack
from lamofcbench.scenarios.base import FeatureSpecs

ALIGNMENT = 8
"""Planes start at multiples of this, so that no transform block of 8x8 samples straddles two of them."""
NARROW = 64
"""A plane whose short side is below this is folded towards a square."""
MIN_SIDE = 32
"""Pages are at least this high and wide; x265 refuses fewer than 16 samples."""
TRIED_WIDTHS = 64
"""How many widths of pages are tried for the one that holds everything with the least padding."""
MAX_PLANES = 2**14
MAX_SIDE = 4096
"""Pages are at most this high and wide, whatever is coded: every codec takes such an image, and memory is bounded."""

Levels = NDArray[np.int16]
"""Integer samples, of at most 15 bits."""


@dataclass(frozen=True)
class Piece:
    """A rectangle of a folded plane and where it lies.

    Attributes:
        top, left, height, width: the rectangle within the folded plane, in samples.
        page: number of the page.
        y, x: of its upper left corner on the page.
        end_y, end_x: of what it is continued to, by repeating its last row and column.
    """

    top: int
    left: int
    height: int
    width: int
    page: int
    y: int
    x: int
    end_y: int
    end_x: int


@dataclass(frozen=True)
class Plane:
    """A plane of a tensor.

    Attributes:
        height, width: before folding.
        strips: how many strips the long side is cut into, which are put side by side along the short one.
        pieces: what the folded plane is cut into.
    """

    height: int
    width: int
    strips: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Layout:
    """Where everything lies.

    Attributes:
        planes: those of each tensor, in the order of the tensors.
        pages: height and width of each page.
    """

    planes: tuple[tuple[Plane, ...], ...]
    pages: tuple[tuple[int, int], ...]


def lay_out(specs: FeatureSpecs, shapes: Mapping[str, tuple[int, ...]]) -> Layout:
    """The layout of a feature set.

    Args:
        specs: of the tensors.
        shapes: of each tensor.

    Raises:
        CodecError: for more than `MAX_PLANES` planes, which a crafted bitstream may claim.
    """
    return _lay_out(tuple((spec.role, shapes[spec.name]) for spec in specs.tensors))


def to_pages(layout: Layout, roles: Sequence[str], tensors: Sequence[Levels]) -> list[Levels]:
    """The pages, ``[height, width]`` each.

    Args:
        layout: of the tensors' shapes.
        roles: of the tensors.
        tensors: their levels.
    """
    pages = [np.zeros(size, np.int16) for size in layout.pages]
    for role, planes, levels in zip(roles, layout.planes, tensors, strict=True):
        if not planes:
            continue
        for plane, packed in zip(planes, pack(torch.from_numpy(levels), role), strict=True):
            folded = _fold(packed.numpy(), plane.strips)
            for piece in plane.pieces:
                content = folded[piece.top : piece.top + piece.height, piece.left : piece.left + piece.width]
                margins = (
                    (0, piece.end_y - piece.y - piece.height),
                    (0, piece.end_x - piece.x - piece.width),
                )
                pages[piece.page][piece.y : piece.end_y, piece.x : piece.end_x] = np.pad(content, margins, "edge")
    return pages


def from_pages(
    layout: Layout, roles: Sequence[str], shapes: Sequence[tuple[int, ...]], pages: Sequence[Levels]
) -> Iterator[Tensor]:
    """The levels of each tensor, int16; the inverse of `to_pages`."""
    for role, planes, shape in zip(roles, layout.planes, shapes, strict=True):
        if not planes:
            yield torch.zeros(shape, dtype=torch.int16)
            continue
        unfolded = []
        for plane in planes:
            folded = np.empty(_folded_shape(plane.height, plane.width, plane.strips), np.int16)
            for piece in plane.pieces:
                folded[piece.top : piece.top + piece.height, piece.left : piece.left + piece.width] = pages[piece.page][
                    piece.y : piece.y + piece.height, piece.x : piece.x + piece.width
                ]
            unfolded.append(torch.from_numpy(_unfold(folded, plane.height, plane.width, plane.strips)))
        yield unpack(unfolded, role, shape)


# ----------------------------------------------------------------------------------------------------------- layout


@functools.lru_cache(maxsize=64)
def _lay_out(tensors: tuple[tuple[str, tuple[int, ...]], ...]) -> Layout:
    sizes: list[tuple[int, int]] = []  # of every plane
    counts = []
    for role, shape in tensors:
        elements = math.prod(shape)
        size = plane_shape(role, shape)
        counts.append(elements // (size[0] * size[1]) if elements else 0)
        if sum(counts) > MAX_PLANES:
            raise CodecError(f"image codecs take at most {MAX_PLANES} planes a sample; a shape is {list(shape)}")
        sizes += [size] * counts[-1]
    strips = [_strip_count(*size) for size in sizes]
    cuts = [list(_cut(*_folded_shape(*size, count))) for size, count in zip(sizes, strips, strict=True)]
    rectangles = [(height, width) for cut in cuts for _, _, height, width in cut]
    places, pages = _shelve(rectangles)
    remaining = iter(places)
    planes = iter(
        Plane(*size, count, tuple(Piece(*rectangle, *next(remaining)) for rectangle in cut))
        for size, count, cut in zip(sizes, strips, cuts, strict=True)
    )
    return Layout(tuple(tuple(next(planes) for _ in range(count)) for count in counts), pages)


def _cut(height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Rectangles (top, left, height, width) that fit on a page and cover a plane."""
    for top in range(0, height, MAX_SIDE):
        for left in range(0, width, MAX_SIDE):
            yield top, left, min(MAX_SIDE, height - top), min(MAX_SIDE, width - left)


def _shelve(
    rectangles: Sequence[tuple[int, int]],
) -> tuple[list[tuple[int, int, int, int, int]], tuple[tuple[int, int], ...]]:
    """Puts rectangles on shelves, the highest first, and shelves on pages.

    Args:
        rectangles: height and width of each.

    Returns:
        Page, y, x, end y and end x of each rectangle, and height and width of each page.
    """
    aligned = [(_aligned(height), _aligned(width)) for height, width in rectangles]
    order = sorted(range(len(aligned)), key=lambda i: -aligned[i][0])
    side = _aligned(math.isqrt(sum(height * width for height, width in aligned)))
    narrowest = max([MIN_SIDE, *(width for _, width in aligned)])
    widest = min(max(narrowest, 2 * side), MAX_SIDE)
    step = max(ALIGNMENT, (widest - narrowest) // TRIED_WIDTHS // ALIGNMENT * ALIGNMENT)

    def waste(page_width: int) -> tuple[int, int]:
        shelves = _fill_shelves(aligned, order, page_width)
        return page_width * sum(aligned[shelf[0]][0] for shelf in shelves), abs(page_width - side)

    page_width = min(range(narrowest, widest + 1, step), key=waste)
    shelves = _fill_shelves(aligned, order, page_width)

    places: list[tuple[int, int, int, int, int]] = [(0, 0, 0, 0, 0)] * len(aligned)
    heights: list[int] = []
    for number, shelf in enumerate(shelves):
        height = aligned[shelf[0]][0]
        if not heights or heights[-1] + height > MAX_SIDE:
            heights.append(0)
        y = heights[-1]
        last = number == len(shelves) - 1
        end_y = max(y + height, MIN_SIDE) if last else y + height
        x = 0
        for index in shelf:
            end_x = page_width if index == shelf[-1] else x + aligned[index][1]
            places[index] = (len(heights) - 1, y, x, end_y, end_x)
            x = end_x
        heights[-1] = end_y
    return places, tuple((max(height, MIN_SIDE), page_width) for height in heights)


def _fill_shelves(sizes: Sequence[tuple[int, int]], order: Sequence[int], page_width: int) -> list[list[int]]:
    """Which rectangles stand on each shelf, from left to right; the first is the highest."""
    shelves: list[list[int]] = []
    filled = page_width
    for index in order:
        width = sizes[index][1]
        if filled + width > page_width:
            shelves.append([])
            filled = 0
        shelves[-1].append(index)
        filled += width
    return shelves


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


# ---------------------------------------------------------------------------------------------------------- folding


def _strip_count(height: int, width: int) -> int:
    """The number of strips that makes a narrow plane nearly square, or down to half of it where that pads less."""
    short, long = min(height, width), max(height, width)
    if short >= NARROW:
        return 1
    most = min(-(-NARROW // short), math.isqrt(long // short))
    return min(
        range(most, (most - 1) // 2, -1),
        key=lambda strips: math.prod(map(_aligned, _folded_shape(height, width, strips))),
    )


def _folded_shape(height: int, width: int, strips: int) -> tuple[int, int]:
    if height >= width:
        return -(-height // strips), width * strips
    return height * strips, -(-width // strips)


def _fold(plane: Levels, strips: int) -> Levels:
    """Strips of the long side, put side by side along the short one; the last is filled up with its last line."""
    if strips == 1:
        return plane
    if plane.shape[0] < plane.shape[1]:
        return _fold(plane.T, strips).T
    height, width = plane.shape
    rows = -(-height // strips)
    padded = np.pad(plane, ((0, rows * strips - height), (0, 0)), "edge")
    return padded.reshape(strips, rows, width).transpose(1, 0, 2).reshape(rows, strips * width)


def _unfold(folded: Levels, height: int, width: int, strips: int) -> Levels:
    if strips == 1:
        return folded
    if height < width:
        return np.ascontiguousarray(_unfold(folded.T, width, height, strips).T)
    rows = folded.shape[0]
    unfolded = folded.reshape(rows, strips, width).transpose(1, 0, 2).reshape(rows * strips, width)
    return np.ascontiguousarray(unfolded[:height])
