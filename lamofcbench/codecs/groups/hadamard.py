"""Rotation of vectors of any length by an orthonormal matrix with entries of nearly equal size.

A length is split as ``odd * 2**k``: the matrix is the Kronecker product of the discrete Hartley matrix of the odd part
and Sylvester's Hadamard matrix of the rest. Both are symmetric and orthonormal, so the product is its own inverse. For
powers of two this is the fast Walsh-Hadamard transform. Where the odd part exceeds `MAX_ODD` the length is cut into
blocks of powers of two (its binary digits) that are rotated each for itself.

Sums are taken in a fixed order by elementwise operations, never by a matrix product whose order depends on the machine
and its threads, so that encoders give the same bytes everywhere.

Sources: fast rotation of caches, QuaRot, arXiv 2404.00456, which takes the factor that is no power of two from a table
of Hadamard matrices; the discrete Hartley transform, Bracewell, doi.org/10.1364/JOSA.73.001832, needs no table.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

MAX_ODD = 31
ROWS_AT_ONCE_BYTES = 2**18
"""Vectors are rotated in parts of this size, which stay in a processor's cache through all passes."""


def rotation_blocks(length: int) -> list[int]:
    """The lengths of the blocks that are rotated each for itself; mostly one.

    Example:
        >>> rotation_blocks(3584), rotation_blocks(1000), rotation_blocks(74)
        ([3584], [512, 256, 128, 64, 32, 8], [64, 8, 2])
    """
    if not length:
        return []
    if length // (length & -length) <= MAX_ODD:
        return [length]
    return [1 << k for k in reversed(range(length.bit_length())) if length >> k & 1]


def rotate(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotated vectors, ``[vectors, length]``; the rotation is its own inverse.

    Example:
        >>> rotate(np.array([[4.0, 0.0, 0.0, 0.0]], np.float32)).tolist()
        [[2.0, 2.0, 2.0, 2.0]]
    """
    rotated = np.empty_like(vectors)
    start = 0
    for length in rotation_blocks(vectors.shape[1]):
        rows = max(1, ROWS_AT_ONCE_BYTES // (4 * length))
        for row in range(0, len(vectors), rows):
            part = vectors[row : row + rows, start : start + length]
            rotated[row : row + rows, start : start + length] = _rotate_block(part)
        start += length
    return rotated


def _rotate_block(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    count, length = vectors.shape
    power = length & -length
    odd = length // power
    # The vectors become the last axis, so that each addition runs along memory whatever the stride of the butterfly.
    values = np.ascontiguousarray(vectors.T) * np.float32(power**-0.5)
    if odd > 1:
        values = _hartley(values.reshape(odd, power * count))
    other = np.empty_like(values)
    half = 1
    while half < power:
        pairs, target = values.reshape(-1, 2, half * count), other.reshape(-1, 2, half * count)
        np.add(pairs[:, 0], pairs[:, 1], out=target[:, 0])
        np.subtract(pairs[:, 0], pairs[:, 1], out=target[:, 1])
        values, other = other, values
        half *= 2
    return values.reshape(length, count).T


def _hartley(values: NDArray[np.float32]) -> NDArray[np.float32]:
    matrix = _hartley_matrix(len(values))
    result = np.empty_like(values)
    for row, weights in enumerate(matrix):
        np.multiply(values[0], weights[0], out=result[row])
        for weight, value in zip(weights[1:], values[1:], strict=True):
            result[row] += weight * value
    return result


@functools.lru_cache(maxsize=32)
def _hartley_matrix(size: int) -> NDArray[np.float32]:
    angles = np.outer(np.arange(size), np.arange(size)) % size * (2 * np.pi / size)
    return ((np.cos(angles) + np.sin(angles)) / np.sqrt(size)).astype(np.float32)
