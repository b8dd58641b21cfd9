"""Images become model inputs as they did in the published evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lamofcbench.models.images import IMAGENET_MEAN, IMAGENET_STD, as_rgb, centre_square, scaled_bytes


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture with edges, so that a resampler that is off by a pixel shows."""
    source = np.random.default_rng(seed)
    coarse = source.integers(0, 256, (max(height // 8, 2), max(width // 8, 2), 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def bytes_of(pixels: torch.Tensor) -> np.ndarray:
    """Normalised pixels as bytes again."""
    unit = pixels.permute(1, 2, 0).numpy() * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN)
    return np.asarray(unit * 255)


@pytest.mark.parametrize("height, width", [(60, 100), (101, 60), (48, 48), (31, 90), (30, 33)])
def test_classification_sees_the_middle_square_of_bytes_resized_bicubically(height: int, width: int) -> None:
    side, image = 48, picture(height, width)
    found = bytes_of(centre_square(image, side))
    np.testing.assert_allclose(found, found.round(), atol=1e-3)  # whole grey levels: it was bytes that were resized
    size = [side, int(side * max(height, width) / min(height, width))]  # rounded down
    tall = height > width
    resized = np.asarray(Image.fromarray(image).resize(size if tall else size[::-1], Image.Resampling.BICUBIC))
    top, left = (round((length - side) / 2.0) for length in resized.shape[:2])  # to even numbers
    expected = resized[top : top + side, left : left + side]
    difference = np.abs(found - expected)  # Pillow and torch round their weights each in its own way
    assert difference.max() <= 2.01 and difference.mean() < 0.3


def test_an_image_with_the_shorter_side_right_is_only_cropped() -> None:
    image = picture(48, 61)
    np.testing.assert_allclose(bytes_of(centre_square(image, 48)), image[:, 6:54], atol=1e-3)  # 6.5 rounds to 6
    np.testing.assert_allclose(bytes_of(centre_square(picture(48, 63), 48)), picture(48, 63)[:, 8:56], atol=1e-3)


def test_segmentation_sees_bytes_resized_by_pillow() -> None:
    image = picture(30, 50)
    found = scaled_bytes(image, (48, 80))
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.asarray(Image.fromarray(image).resize((80, 48), Image.Resampling.BILINEAR)))


def test_grey_images_become_three_equal_channels() -> None:
    grey = picture(50, 40)[..., 0]
    assert as_rgb(grey).shape == (50, 40, 3) and np.array_equal(as_rgb(grey)[..., 2], grey)
    assert torch.equal(centre_square(grey, 32), centre_square(as_rgb(grey), 32))
