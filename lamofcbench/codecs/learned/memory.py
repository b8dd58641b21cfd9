"""Keeps the process small between steps that need much memory."""

from __future__ import annotations

import ctypes
import sys

from torch import Tensor

LARGE_ELEMENTS = 2**18


def trim_after(result: Tensor) -> Tensor:
    """A result as it is, after which, where it is large, freed memory goes back to the system.

    The allocator of glibc keeps freed blocks of up to 32 MB, and maps of different sizes leave holes between them that
    add up to hundreds of megabytes.
    """
    if result.numel() >= LARGE_ELEMENTS and sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)
    return result
