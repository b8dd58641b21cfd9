"""From an image array to a vision model's input.

The order is that of DINOv3's own processing: rescale to 0..1, resize (bilinear, antialiased), normalise by ImageNet's
statistics. It is done in torch, on the float image, because transformers offers this processor only on top of
torchvision, which is no dependency here.

The published classification and segmentation resize bytes instead, each in its own way: `centre_square` and
`scaled_bytes`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lamofcbench.errors import DataError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_pixels(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """An image as `to_unit_pixels` gives it, normalised by ImageNet's statistics: float32 ``[3, height, width]``."""
    return normalised(to_unit_pixels(image, size))


def normalised(pixels: Tensor) -> Tensor:
    """Pixels between 0 and 1, ``[..., 3, H, W]``, normalised by ImageNet's statistics."""
    mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels - mean) / std


def normalised_bytes(image: np.ndarray) -> Tensor:
    """An image of bytes ``[H, W, 3]`` normalised by 255 times ImageNet's statistics: float32 ``[3, H, W]``."""
    mean, std = (torch.tensor([255 * v for v in values]).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (torch.from_numpy(image).permute(2, 0, 1).to(torch.float32) - mean) / std


def to_unit_pixels(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """An image between 0 and 1 at a model's size, float32 ``[3, height, width]`` on the CPU.

    Args:
        image: uint8 ``[H, W, 3]`` (RGB) or ``[H, W]`` (grey, repeated over the channels).
        size: height and width of the result; an image of that size is not resampled.

    Raises:
        DataError: if the array is no such image.
    """
    pixels = torch.from_numpy(np.array(_checked(image))).to(torch.float32) / 255
    pixels = pixels.expand(3, -1, -1) if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    if tuple(pixels.shape[1:]) != size:
        pixels = functional.interpolate(pixels[None], size=size, mode="bilinear", antialias=True, align_corners=False)[
            0
        ]
    return pixels


def centre_square(image: np.ndarray, side: int) -> Tensor:
    """The middle square of an image whose shorter side was resized to ``side`` pixels, normalised.

    As the published classification does it: bicubic and antialiased, on bytes, the longer side's length rounded down.

    Args:
        image: uint8 ``[H, W, 3]`` (RGB) or ``[H, W]`` (grey).
        side: of the square, in pixels.

    Returns:
        float32 ``[3, side, side]`` on the CPU.

    Raises:
        DataError: if the array is no such image.
    """
    pixels = torch.from_numpy(as_rgb(image)).permute(2, 0, 1).contiguous()
    height, width = pixels.shape[1:]
    shorter = min(height, width)
    size = (side * height // shorter, side * width // shorter)
    if size != (height, width):
        pixels = functional.interpolate(pixels[None], size=size, mode="bicubic", antialias=True, align_corners=False)[0]
    # Halves go to the even number, as Python rounds; torchvision's crop does the same.
    top, left = (round((length - side) / 2) for length in size)
    return normalised(pixels[:, top : top + side, left : left + side].to(torch.float32) / 255)


def scaled_bytes(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image resized by Pillow (bilinear, antialiased), on bytes, as the published segmentation does it.

    Args:
        image: uint8 ``[H, W, 3]`` (RGB) or ``[H, W]`` (grey).
        size: height and width of the result.

    Returns:
        uint8 ``[height, width, 3]``.

    Raises:
        DataError: if the array is no such image.
    """
    from PIL import Image

    height, width = size
    return np.array(Image.fromarray(as_rgb(image)).resize((width, height), Image.Resampling.BILINEAR))


def as_rgb(image: np.ndarray) -> np.ndarray:
    """An image with three channels, uint8 ``[H, W, 3]``, contiguous: grey ones are repeated.

    Raises:
        DataError: if the array is no image.
    """
    image = _checked(image)
    return np.ascontiguousarray(np.stack([image] * 3, axis=-1) if image.ndim == 2 else image)


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise DataError(f"an image is a uint8 array [H, W, 3] or [H, W], not {image.dtype} {list(image.shape)}")
    return image
