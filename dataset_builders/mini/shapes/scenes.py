"""Captioned pictures of one coloured shape on a coloured ground, and how they are dealt.

A caption names the shape, the two colours and whether the ground is striped; where the shape stands, how large it is
and where the stripes run only the edges tell. So neither the caption nor the edges alone determine the picture.

The rule by which pictures are dealt: the sha256 of shape, colours and the shape's centre decides whether a picture
belongs to training, calibration or test. No combination of caption and place that is tested was trained on.

Everything is drawn in integer arithmetic: every machine gets the same bytes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Part = Literal["training", "calibration", "test"]

IMAGE_SIDE = 32
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 70, 220),
    "yellow": (240, 210, 40),
    "purple": (150, 50, 180),
    "cyan": (60, 200, 220),
    "white": (240, 240, 240),
    "black": (20, 20, 20),
}
GROUNDS = ("plain", "striped")
STRIPE_PERIOD = 16  # pixels, half of them darker
# A small model learns to follow edges in minutes where places, sizes and phases come in steps.
CENTRES = (10, 14, 18, 22)
RADII = (6, 9)
PHASES = (0, 4, 8, 12)
FINENESS = 4  # sub-pixels along a pixel's side

WORDS = ("a", "on", "ground", *SHAPES, *COLOURS, *GROUNDS)


@dataclass(frozen=True)
class Scene:
    """One picture's description.

    Attributes:
        shape: one of `SHAPES`.
        colour: the shape's, one of `COLOURS`.
        ground: plain or striped.
        ground_colour: another one of `COLOURS`.
        row: of the shape's centre, in pixels.
        column: of the shape's centre, in pixels.
        radius: half the shape's extent, in pixels.
        phase: where the first stripe starts, in pixels.
        upright: True where the stripes are columns.
    """

    shape: str
    colour: str
    ground: str
    ground_colour: str
    row: int
    column: int
    radius: int
    phase: int
    upright: bool

    @property
    def caption(self) -> str:
        """Such as ``a red circle on a striped blue ground``."""
        return f"a {self.colour} {self.shape} on a {self.ground} {self.ground_colour} ground"

    @property
    def part(self) -> Part:
        """To which part the rule deals this picture: a tenth each to test and calibration."""
        key = f"{self.shape} {self.colour} {self.ground_colour} {self.row} {self.column}"
        bucket = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10
        return "test" if bucket == 0 else "calibration" if bucket == 1 else "training"


def scenes(part: Part, seed: int = 0) -> Iterator[Scene]:
    """The endless, fixed sequence of a part's pictures."""
    source = random.Random(f"shapes/{part}/{seed}")
    while True:
        scene = _draw_scene(source)
        if scene.part == part:
            yield scene


def _draw_scene(source: random.Random) -> Scene:
    colour, ground_colour = source.sample(tuple(COLOURS), 2)
    return Scene(
        shape=source.choice(SHAPES),
        colour=colour,
        ground=source.choice(GROUNDS),
        ground_colour=ground_colour,
        row=source.choice(CENTRES),
        column=source.choice(CENTRES),
        radius=source.choice(RADII),
        phase=source.choice(PHASES),
        upright=source.random() < 0.5,
    )


def draw(scene: Scene) -> NDArray[np.uint8]:
    """The picture, uint8 ``[32, 32, 3]``."""
    ground = np.empty((IMAGE_SIDE, IMAGE_SIDE, 3), dtype=np.int64)
    ground[:] = COLOURS[scene.ground_colour]
    if scene.ground == "striped":
        along = (np.arange(IMAGE_SIDE) - scene.phase) % STRIPE_PERIOD < STRIPE_PERIOD // 2
        dark = np.broadcast_to(along[None, :] if scene.upright else along[:, None], ground.shape[:2])
        ground[dark] = [(3 * value + 2 * 128) // 5 for value in COLOURS[scene.ground_colour]]  # towards grey
    covered = _coverage(scene)[:, :, None]
    full = FINENESS**2
    picture = (covered * np.array(COLOURS[scene.colour]) + (full - covered) * ground + full // 2) // full
    return picture.astype(np.uint8)


def _coverage(scene: Scene) -> NDArray[np.int64]:
    """How many of a pixel's 16 sub-pixels lie in the shape, ``[32, 32]``."""
    # Twice the distance from the centre, so that the middles of sub-pixels are whole numbers.
    middles = 2 * np.arange(FINENESS * IMAGE_SIDE) + 1
    down = (middles - 2 * FINENESS * scene.row)[:, None]
    across = (middles - 2 * FINENESS * scene.column)[None, :]
    radius = 2 * FINENESS * scene.radius
    if scene.shape == "circle":
        inside = down**2 + across**2 <= radius**2
    elif scene.shape == "square":
        side = 7 * radius // 8
        inside = (abs(down) <= side) & (abs(across) <= side)
    elif scene.shape == "triangle":  # its tip is above
        inside = (abs(down) <= radius) & (2 * abs(across) <= down + radius)
    else:
        arm = radius // 3
        inside = ((abs(down) <= arm) & (abs(across) <= radius)) | ((abs(across) <= arm) & (abs(down) <= radius))
    fine = inside.reshape(IMAGE_SIDE, FINENESS, IMAGE_SIDE, FINENESS)
    return fine.sum(axis=(1, 3), dtype=np.int64)
