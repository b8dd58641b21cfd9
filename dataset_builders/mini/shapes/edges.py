"""Canny's edge detector (1986) on small colour images, in integer arithmetic: every machine finds the same edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Thresholds on the gradient of the smoothed image, in grey levels a pixel.
LOW, HIGH = 4, 8
_SCALE = 16 * 8  # the sums of the smoothing and of Sobel's kernel


def canny(image: NDArray[np.uint8], low: int = LOW, high: int = HIGH) -> NDArray[np.uint8]:
    """The edges of a picture: uint8 ``[h, w]``, 255 on an edge and 0 elsewhere.

    Smoothing by a 3x3 binomial kernel, Sobel's gradient of the colour channel that changes most, thinning across the
    edge, and hysteresis: of what exceeds `low`, the pieces that somewhere exceed `high` stay.

    Args:
        image: uint8 ``[h, w, 3]``.
        low: the weak threshold, in grey levels a pixel.
        high: the strong threshold.
    """
    down, across = _gradient(_smooth(image.astype(np.int64)))
    strength = _thin(down, across)
    return np.where(_connected(strength > (low * _SCALE) ** 2, strength > (high * _SCALE) ** 2), 255, 0).astype(
        np.uint8
    )


def edge_image(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture's edges as an RGB image, uint8 ``[h, w, 3]``: the ControlNet's control image."""
    return np.repeat(canny(picture)[:, :, None], 3, axis=2)


def _around(values: NDArray[np.int64], row: int, column: int, mode: str = "edge") -> NDArray[np.int64]:
    """The array shifted so that each place holds its neighbour `row` below and `column` to the right."""
    border = [(1, 1), (1, 1)] + [(0, 0)] * (values.ndim - 2)
    padded = np.pad(values, border, mode=mode)  # type: ignore[call-overload]
    height, width = values.shape[:2]
    return padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]


def _smooth(values: NDArray[np.int64]) -> NDArray[np.int64]:
    rows = _around(values, -1, 0) + 2 * values + _around(values, 1, 0)
    return _around(rows, 0, -1) + 2 * rows + _around(rows, 0, 1)


def _gradient(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Downwards and across, each ``[h, w]``, of the channel with the strongest gradient."""
    slope_down = _around(values, 1, 0) - _around(values, -1, 0)
    slope_across = _around(values, 0, 1) - _around(values, 0, -1)
    down = _around(slope_down, 0, -1) + 2 * slope_down + _around(slope_down, 0, 1)
    across = _around(slope_across, -1, 0) + 2 * slope_across + _around(slope_across, 1, 0)
    strongest = np.argmax(down**2 + across**2, axis=2, keepdims=True)
    return np.take_along_axis(down, strongest, axis=2)[..., 0], np.take_along_axis(across, strongest, axis=2)[..., 0]


def _thin(down: NDArray[np.int64], across: NDArray[np.int64]) -> NDArray[np.int64]:
    """The squared gradient where it is largest across the edge, 0 elsewhere."""
    squared = down**2 + across**2
    # tan(22.5 degrees) is close to 5 / 12.
    level = 12 * abs(down) <= 5 * abs(across)
    steep = 12 * abs(across) <= 5 * abs(down)
    falling = (down > 0) == (across > 0)
    steps = np.where(level, 0, np.where(steep, 1, np.where(falling, 2, 3)))
    kept = np.zeros(squared.shape, dtype=bool)
    for direction, (row, column) in enumerate(((0, 1), (1, 0), (1, 1), (1, -1))):
        before = _around(squared, -row, -column, mode="constant")
        after = _around(squared, row, column, mode="constant")
        # One strict comparison: of two equal neighbours one stays.
        kept |= (steps == direction) & (squared > before) & (squared >= after)
    return np.where(kept, squared, 0)


def _connected(weak: NDArray[np.bool_], strong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The weak places that touch strong ones, directly or through other weak ones (8 neighbours)."""
    kept = strong & weak
    while True:
        spread = np.zeros(weak.shape, dtype=np.int64)
        for row in (-1, 0, 1):
            for column in (-1, 0, 1):
                spread += _around(kept.astype(np.int64), row, column, mode="constant")
        grown = (spread > 0) & weak
        if np.array_equal(grown, kept):
            return kept
        kept = grown
