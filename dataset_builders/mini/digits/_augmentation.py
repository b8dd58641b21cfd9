"""Random changes of the digits that the classifier is trained on, each drawn from a given generator.

Besides shifts, turns and bends, a share of the images is rendered otherwise (inverted, on a texture, as an outline), so
that one classifier serves the clean digits and the tracks of renditions.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

TURN_DEGREES = 18.0
WIDE_TURN_DEGREES = 35.0
WIDE_TURN_SHARE = 0.15
SHIFT = 0.18  # of half the image's side
STRETCH = 0.15
SHEAR = 0.2
BEND = 0.09  # of half the image's side
BEND_GRID = 4
RENDITION_SHARE = 0.25
NOISE = 0.08


def augment(images: Tensor, source: Generator) -> Tensor:
    """Returns changed copies of grey images.

    Args:
        images: float32 [B, 1, H, W], 0 (paper) to 1 (ink).
        source: generator of all draws.

    Returns:
        float32 [B, 1, H, W], 0 to 1.
    """
    moved = move(images, source)
    rendered = render(moved, source)
    contrast = uniform(source, images.shape[0], 0.7, 1.15)
    noise = torch.randn(images.shape, generator=source) * uniform(source, images.shape[0], 0.0, NOISE)
    return (rendered * contrast + noise).clamp(0, 1)


def uniform(source: Generator, count: int, low: float, high: float) -> Tensor:
    """Returns float32 [count, 1, 1, 1], uniform in [low, high)."""
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=source)


def move(images: Tensor, source: Generator) -> Tensor:
    """Returns the images turned, stretched, sheared, shifted and bent; float32 [B, 1, H, W] both ways."""
    count, _, height, width = images.shape

    def draw(low: float, high: float) -> Tensor:
        return uniform(source, count, low, high).flatten()

    wide = draw(0, 1) < WIDE_TURN_SHARE
    degrees = draw(-1, 1) * torch.where(wide, WIDE_TURN_DEGREES, TURN_DEGREES)
    radians = degrees * (math.pi / 180)
    stretch_x, stretch_y = (1 + draw(-STRETCH, STRETCH) for _ in "xy")
    shear = draw(-SHEAR, SHEAR)
    cosine, sine = radians.cos(), radians.sin()
    matrix = torch.stack(
        [
            torch.stack([cosine * stretch_x, (shear * cosine - sine) * stretch_y, draw(-SHIFT, SHIFT)], dim=1),
            torch.stack([sine * stretch_x, (shear * sine + cosine) * stretch_y, draw(-SHIFT, SHIFT)], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(matrix, [count, 1, height, width], align_corners=False)
    bend = torch.randn(count, 2, BEND_GRID, BEND_GRID, generator=source) * BEND
    bend = functional.interpolate(bend, (height, width), mode="bicubic", align_corners=False)
    return functional.grid_sample(images, grid + bend.permute(0, 2, 3, 1), align_corners=False)


def render(images: Tensor, source: Generator) -> Tensor:
    """Returns the images with a share of them inverted, textured or outlined; float32 [B, 1, H, W] both ways."""
    count = images.shape[0]
    kind = uniform(source, count, 0, 1) / RENDITION_SHARE
    outlined = outline(images)
    textured = texture(images, source)
    images = torch.where(kind < 1 / 3, outlined, images)
    images = torch.where((kind >= 1 / 3) & (kind < 2 / 3), textured, images)
    # Half of the textured ones are inverted as well.
    return torch.where((kind >= 0.5) & (kind < 1), 1 - images, images)


def outline(images: Tensor) -> Tensor:
    """Returns the strokes' edges, as a sketch shows them; float32 [B, 1, H, W] both ways, 0 to 1."""
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    return (2 * (across.square() + down.square()).sqrt()).clamp(0, 1)


def texture(images: Tensor, source: Generator) -> Tensor:
    """Returns the digits on a patterned ground of random grain; float32 [B, 1, H, W] both ways, 0 to 1."""
    count, _, height, width = images.shape
    coarse = torch.rand(count, 1, 6, 6, generator=source)
    fine = torch.rand(count, 1, height // 2, width // 2, generator=source)
    patterns = [functional.interpolate(p, (height, width), mode="bilinear") for p in (coarse, fine)]
    mixture = uniform(source, count, 0, 1)
    ground = mixture * patterns[0] + (1 - mixture) * patterns[1]
    return images + (1 - images) * ground * uniform(source, count, 0.2, 0.6)
