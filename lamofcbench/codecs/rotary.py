"""Keys before their rotary embedding, which rotated each of them by its position (Su et al., arXiv 2104.09864).

Before the rotation, a key is a linear function of the residual stream, and joint statistics of keys, values and hidden
states hold for every position. Both sides know positions and angles, so that undoing it costs nothing.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

_LARGEST = np.finfo(np.float32).max
"""Two of the largest values, turned by 45 degrees, lie beyond, and are cut off there."""


def without_positions(keys: NDArray[np.float32], base: float, first: int = 0) -> NDArray[np.float32]:
    """Keys as they were before their rotary embedding.

    Args:
        keys: ``[..., T, D]`` with an even D; row t was rotated by its position ``first + t``.
        base: `TensorSpec.rotary_base`.
        first: the position of the first row.

    Example:
        >>> keys = np.ones((1, 3, 4), np.float32)
        >>> bool(np.allclose(with_positions(without_positions(keys, 1e4), 1e4), keys))
        True
    """
    cosines, sines = _angles(keys.shape[-2], keys.shape[-1], base, first)
    return _rotated(keys, cosines, -sines)


def with_positions(keys: NDArray[np.float32], base: float, first: int = 0) -> NDArray[np.float32]:
    """Keys rotated by their positions, as caches hold them: what `without_positions` undoes."""
    return _rotated(keys, *_angles(keys.shape[-2], keys.shape[-1], base, first))


@functools.lru_cache(maxsize=2)  # layers of one sample share them, and some models turn keys by two bases
def _angles(tokens: int, width: int, base: float, first: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines, ``[T, D/2]``, computed in float64, which far positions need."""
    angles = np.arange(first, first + tokens)[:, None] * base ** (-np.arange(0, width, 2) / width)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _rotated(
    keys: NDArray[np.float32], cosines: NDArray[np.float32], sines: NDArray[np.float32]
) -> NDArray[np.float32]:
    first, second = np.split(keys, 2, axis=-1)
    with np.errstate(over="ignore"):
        turned = np.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)
    return np.clip(turned, -_LARGEST, _LARGEST, out=turned)
