"""Scenes of digit cards and solids on a floor before a wall, with their class masks and depth maps.

A camera of fixed height and focal length looks level over a floor that ends at a wall. Things stand upright on the
floor; near ones hide far ones. So the depth of a thing shows in the row where it meets the floor, in its size, in what
hides what, and in the haze that greys distant colours; the depth of the wall shows in the row where the floor ends.

Only additions, multiplications, divisions and square roots of float64 values are used, one element at a time, and
draws come from Python's generator, so a scene has the same bytes on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dataset_builders.mini._sampling import between
from dataset_builders.mini.digits.plan import LARGEST_VALUE, SIDE, Digit, digits_plan

HEIGHT = 32  # pixels
HORIZON = 8.0  # the row of the camera's height
FOCAL_LENGTH = 32.0  # pixels
CAMERA_HEIGHT = 1.1  # metres
NEAREST, FARTHEST = 1.7, 4.8  # metres, of things
WALL_DEPTHS = (3.5, 7.0)  # metres
THING_SIZES = (0.85, 1.25)  # metres
PIXELS_PER_THING = 11  # of the image's width
CLUTTER_SHARE = 0.12
DIGITS = (0, 1, 2, 3, 4, 5)
SOLIDS = ("ball", "box", "cone", "ring")
VOID = 0
CLASSES = ("wall", "floor", *SOLIDS, *(f"digit {digit}" for digit in DIGITS))
"""What the mask's labels 1, 2, ... mean; label 0 is clutter, which is not judged."""

Plane = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """A scene and what is known of it.

    Attributes:
        image: uint8 [H, W, 3], read-only.
        mask: uint8 [H, W], a label of `CLASSES` counted from 1, or 0 for void.
        depth: float32 [H, W], metres along the viewing axis.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    depth: NDArray[np.float32]


@cache
def digit_pool(part: str) -> Mapping[int, Sequence[Digit]]:
    """Returns the digits of a part of the digits' plan (training, calibration, held_out) by their label."""
    digits: tuple[Digit, ...] = getattr(digits_plan(), part)
    return {label: tuple(digit for digit in digits if digit.label == label) for label in DIGITS}


def draw_scene(source: random.Random, pool: Mapping[int, Sequence[Digit]], width: int) -> Scene:
    """Returns a scene, 32 pixels high.

    Args:
        source: of all draws.
        pool: the digits that may stand on cards, by label.
        width: pixels.
    """
    wall_depth = source.uniform(*WALL_DEPTHS)
    light = source.uniform(0.75, 1.15)
    canvas = _Canvas(source, width, wall_depth)
    count = max(1, round(width / PIXELS_PER_THING * source.uniform(0.6, 1.4)))
    reach = min(FARTHEST, wall_depth - 0.2)
    for depth in sorted((source.uniform(NEAREST, reach) for _ in range(count)), reverse=True):
        canvas.stand(_draw_thing(source, pool), depth)
    noise = np.frombuffer(source.randbytes(HEIGHT * width * 3), np.uint8).reshape(HEIGHT, width, 3) / 255 - 0.5
    image = np.rint((canvas.colour * light + 16 * noise).clip(0, 255)).astype(np.uint8)
    image.setflags(write=False)
    return Scene(image, canvas.mask, canvas.depth.astype(np.float32))


@dataclass(frozen=True)
class _Thing:
    """Something upright, in coordinates that run from -1 to 1 over its box, to the right and downwards.

    Attributes:
        label: of `CLASSES`, counted from 1, or `VOID`.
        inside: how far a point lies inside the outline, in half sizes; negative outside.
        paint: colours [H, W, 3] of points.
    """

    label: int
    inside: Callable[[Plane, Plane], Plane]
    paint: Callable[[Plane, Plane], Plane]


class _Canvas:
    """An empty room, in which things are stood from far to near."""

    def __init__(self, source: random.Random, width: int, wall_depth: float) -> None:
        self.source, self.width = source, width
        self.x = np.arange(width) + 0.5
        self.y = (np.arange(HEIGHT) + 0.5)[:, None]
        edge = _floor_row(wall_depth)
        on_floor = np.broadcast_to(self.y > edge, (HEIGHT, width))
        floor_depth = FOCAL_LENGTH * CAMERA_HEIGHT / np.maximum(self.y - HORIZON, 1.0)
        self.depth = np.where(on_floor, floor_depth, wall_depth)
        self.mask = np.where(on_floor, 2, 1).astype(np.uint8)
        wall, floor = (self._surface(depth) for depth in (np.full((HEIGHT, 1), wall_depth), floor_depth))
        share = (self.y + 0.5 - edge).clip(0, 1)[:, :, None]  # of a row that is floor
        self.colour = wall * (1 - share) + floor * share

    def _surface(self, depth: Plane) -> Plane:
        """A colour with blotches and a slope of the light."""
        blocks = np.frombuffer(self.source.randbytes(HEIGHT // 4 * (self.width // 4 + 1)), np.uint8) / 255 - 0.5
        blotches = blocks.reshape(HEIGHT // 4, -1).repeat(4, axis=0).repeat(4, axis=1)[:, : self.width]
        slope = self.source.uniform(-30, 30) * (self.x / self.width - 0.5)
        return _haze(_colour(self.source, 60, 190) + (18 * blotches + slope)[:, :, None], depth[:, :, None])

    def stand(self, thing: _Thing, depth: float) -> None:
        """Puts a thing before all that is there."""
        half = FOCAL_LENGTH * self.source.uniform(*THING_SIZES) / depth / 2
        middle = self.source.uniform(-0.03, 1.03) * self.width
        across, down = np.broadcast_arrays((self.x - middle) / half, (self.y - _floor_row(depth) + half) / half)
        share = (0.5 + half * thing.inside(across, down)).clip(0, 1)  # of a pixel that the thing covers
        colour = _haze(thing.paint(across, down), depth)
        self.colour = self.colour * (1 - share[:, :, None]) + colour * share[:, :, None]
        covered = share >= 0.5
        self.mask[covered] = thing.label
        self.depth[covered] = depth


def _floor_row(depth: float) -> float:
    """The row at which the floor is so far away."""
    return HORIZON + FOCAL_LENGTH * CAMERA_HEIGHT / depth


def _haze(colour: Plane, depth: Plane | float) -> Plane:
    """Colours as they look at a depth."""
    share = 0.06 * depth
    return colour * (1 - share) + 128 * share


def _colour(source: random.Random, low: float, high: float) -> Plane:
    return np.array([source.uniform(low, high) for _ in "rgb"])


def _draw_thing(source: random.Random, pool: Mapping[int, Sequence[Digit]]) -> _Thing:
    if source.random() < CLUTTER_SHARE:
        return _clutter(source)
    name = source.choice(CLASSES[2:])
    label = 1 + CLASSES.index(name)
    if name in SOLIDS:
        return _solid(source, name, label)
    return _card(source, source.choice(pool[int(name.split()[1])]), label)


def _solid(source: random.Random, name: str, label: int) -> _Thing:
    """A plain-coloured body, lit from the upper left."""
    colour = _colour(source, 40, 240)

    def inside(across: Plane, down: Plane) -> Plane:
        radius = np.sqrt(across * across + down * down)
        if name == "ball":
            return 1 - radius
        if name == "ring":
            return 0.3 - np.abs(radius - 0.7)
        if name == "box":
            return 1 - np.maximum(np.abs(across), np.abs(down))
        return np.minimum((down + 1) / 2 - np.abs(across), 1 - down)

    def paint(across: Plane, down: Plane) -> Plane:
        lit = 1 - 0.25 * (across + (down if name == "ball" else 0))
        if name == "box":
            lit = np.where(across > 0.45, 0.6, 1.0)  # its side
        return (colour * lit[:, :, None]).clip(0, 255)

    return _Thing(label, inside, paint)


def _card(source: random.Random, digit: Digit, label: int) -> _Thing:
    """A card with a handwritten digit, slightly slanted; the whole card has the digit's label."""
    paper, ink = _colour(source, 170, 250), _colour(source, 0, 70)
    if source.random() < 0.3:
        paper, ink = ink, paper
    slant, stretch = source.uniform(-0.2, 0.2), source.uniform(0.85, 1.1)
    shift_across, shift_down = (source.uniform(-0.5, 0.5) for _ in "xy")
    strength = np.zeros((SIDE + 2, SIDE + 2))
    strength[1:-1, 1:-1] = digit.pixels / LARGEST_VALUE

    def inside(across: Plane, down: Plane) -> Plane:
        return 1 - np.maximum(np.abs(across), np.abs(down))

    def paint(across: Plane, down: Plane) -> Plane:
        half = SIDE / 2
        column = (across * stretch - slant * down) * half * 1.05 + half + 0.5 + shift_across
        row = down * half * 1.05 + half + 0.5 + shift_down
        amount = between(strength, row, column)[:, :, None]
        return paper * (1 - amount) + ink * amount

    return _Thing(label, inside, paint)


def _clutter(source: random.Random) -> _Thing:
    """A striped post of no class."""
    first, second = _colour(source, 0, 255), _colour(source, 0, 255)
    breadth = source.uniform(0.15, 0.4)

    def inside(across: Plane, down: Plane) -> Plane:
        return np.minimum(breadth - np.abs(across), 1 - np.abs(down))

    def paint(across: Plane, down: Plane) -> Plane:
        return np.where((np.floor(4 * down) % 2 == 0)[:, :, None], first, second)

    return _Thing(VOID, inside, paint)
