"""From an image array to a vision model's input.

The order is that of DINOv3's own processing: rescale to 0..1, resize (bilinear, antialiased), normalise by ImageNet's
statistics. It is done in torch, on the float image, because transformers offers this processor only on top of
torchvision, which is no dependency here.
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
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (to_unit_pixels(image, size) - mean) / std


def to_unit_pixels(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """An image between 0 and 1 at a model's size, float32 ``[3, height, width]`` on the CPU.

    Args:
        image: uint8 ``[H, W, 3]`` (RGB) or ``[H, W]`` (grey, repeated over the channels).
        size: height and width of the result; an image of that size is not resampled.

    Raises:
        DataError: if the array is no such image.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise DataError(f"an image is a uint8 array [H, W, 3] or [H, W], not {image.dtype} {list(image.shape)}")
    pixels = torch.from_numpy(np.array(image)).to(torch.float32) / 255
    pixels = pixels.expand(3, -1, -1) if image.ndim == 2 else pixels.permute(2, 0, 1)
    if tuple(pixels.shape[1:]) != size:
        pixels = functional.interpolate(pixels[None], size=size, mode="bilinear", antialias=True, align_corners=False)[
            0
        ]
    return pixels
