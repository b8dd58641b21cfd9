"""Eight-bit floats of four exponent and three mantissa bits (E4M3, Micikevicius et al., arXiv 2209.05433)."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from lamofcbench.errors import BitstreamError

LARGEST = 448.0
EXPONENTS = range(-120, 121)
"""Of units. Coefficients are measured in units of their own, so that none of them comes near these."""
_HEADROOM_OCTAVES = 3
_NAN = 0x7F


def exponent_for(largest: float) -> int:
    """The unit, as a power of two, that leaves three octaves between the largest value seen and the largest there is.

    Example:
        >>> exponent_for(448.0), exponent_for(56.0), exponent_for(0.0)
        (3, 0, 0)
    """
    if largest <= 0:
        return 0
    octaves = math.ceil(math.log2(largest / LARGEST)) + _HEADROOM_OCTAVES
    return min(max(octaves, EXPONENTS.start), EXPONENTS.stop - 1)


def to_codes(values: NDArray[np.float32], exponent: int) -> NDArray[np.uint8]:
    """The code of the nearest float, the largest one for what lies beyond; in the shape of the values."""
    scaled = np.clip(values * np.float32(2.0**-exponent), -LARGEST, LARGEST)
    return torch.from_numpy(scaled).to(torch.float8_e4m3fn).view(torch.uint8).numpy()


def from_codes(codes: NDArray[np.uint8], exponent: int) -> NDArray[np.float32]:
    """The values of codes.

    Raises:
        BitstreamError: if one is not a number.
    """
    if codes.size and bool(((codes & _NAN) == _NAN).any()):
        raise BitstreamError("an eight-bit float is not a number")
    values = torch.from_numpy(np.ascontiguousarray(codes)).view(torch.float8_e4m3fn).float().numpy()
    return values * np.float32(2.0**exponent)
