"""Rate measures, one definition each. Coded bits are always ``8 * len(bytes)`` of complete bitstreams.

Sums over samples and tensors go in, so a sample without a single feature point counts by its coded bits. Of nothing but
such samples no rate is defined: it is NaN, and null in results and reports.
"""

from __future__ import annotations

import math


def bpfp(coded_bits: float, elements: int) -> float:
    """Bits per feature point over any number of samples and tensors; NaN where there is none.

    Example:
        >>> bpfp(coded_bits=800, elements=400)
        2.0
    """
    return coded_bits / elements if elements else math.nan


def ebpfp(coded_bits: float, raw_bits: int) -> float:
    """Equivalent bits per feature point: the rate of a 32-bit source at the same compression ratio; NaN of no raw bits.

    Sums over samples and tensors go in, so the figure is defined for mixed dtypes and for codecs that join tensors;
    uncoded features cost 32.

    Example:
        >>> ebpfp(coded_bits=100, raw_bits=1600)
        2.0
    """
    return 32.0 * coded_bits / raw_bits if raw_bits else math.nan


def compression_ratio(coded_bits: float, raw_bits: int) -> float:
    """Raw size over coded size; larger is smaller output.

    Example:
        >>> compression_ratio(coded_bits=100, raw_bits=1600)
        16.0
    """
    return raw_bits / coded_bits if coded_bits else float("inf")
