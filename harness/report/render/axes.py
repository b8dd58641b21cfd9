"""Axes of figures: their ranges and ticks, in data units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.statistics.curves import UNCODED_EBPFP

MARGIN_OCTAVES = 0.35
MIN_TICKS, MAX_TICKS = 4, 8
LARGEST, SMALLEST = 1e100, 1e-100
"""Of what an axis reaches: ranges and ratios of such values, and their margins, are still numbers."""


@dataclass(frozen=True)
class Axis:
    """An axis with its range and ticks, in data units. Values that no figure can hold make no range.

    Attributes:
        ticks: positions with their labels.
    """

    label: str
    low: float
    high: float
    log: bool
    ticks: Sequence[tuple[float, str]]

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one; outside of that where it is beyond."""
        if self.log:
            return math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def rate_axis(rates: Sequence[float]) -> Axis:
    """EBPFP in octaves down from 32, which is uncoded."""
    rates = _positive(rates)
    low = min([*rates, UNCODED_EBPFP / 2]) * 2**-MARGIN_OCTAVES
    high = max([*rates, UNCODED_EBPFP]) * 2**MARGIN_OCTAVES
    octaves = range(math.floor(math.log2(high)), math.ceil(math.log2(low)) - 1, -1)
    chosen = octaves[:: max(1, math.ceil(len(octaves) / MAX_TICKS))]
    ticks = [(2.0**octave, f"{2.0**octave:.3g}") for octave in chosen]
    return Axis("EBPFP (uncoded = 32)", low, high, True, ticks)


def log_axis(label: str, values: Sequence[float]) -> Axis:
    """Ticks at decades, and between them where there are few decades.

    Example:
        >>> [text for _, text in log_axis("", [0.9, 120]).ticks]
        ['1', '2', '5', '10', '20', '50', '100']
    """
    values = _positive(values) or [1.0, 10.0]
    margin = max((max(values) / min(values)) ** 0.06, 1.1)
    low, high = min(values) / margin, max(values) * margin
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) >= MIN_TICKS:
            break
    kept = ticks[:: max(1, math.ceil(len(ticks) / MAX_TICKS))]
    return Axis(label, low, high, True, [(tick, _short(tick)) for tick in kept])


def linear_axis(label: str, values: Sequence[float]) -> Axis:
    """Ticks at multiples of 1, 2 or 5 times a power of ten.

    Example:
        >>> [text for _, text in linear_axis("", [0.0, 1.0]).ticks]
        ['0', '0.2', '0.4', '0.6', '0.8', '1']
    """
    values = [min(max(value, -LARGEST), LARGEST) for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(values), max(values)
    span = max(high - low or abs(high) or 1.0, SMALLEST)
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 6)
    first, last = math.ceil((low - 1e-9 * span) / step), math.floor((high + 1e-9 * span) / step)
    ticks = [(n * step, f"{n * step:.6g}") for n in range(first, last + 1)]
    return Axis(label, low - 0.08 * span, high + 0.08 * span, False, ticks)


def _positive(values: Sequence[float]) -> list[float]:
    """What a logarithmic axis can reach of values."""
    return [min(max(value, SMALLEST), LARGEST) for value in values if math.isfinite(value)]


def _short(value: float) -> str:
    if 1e-4 <= value < 1e5:
        return f"{value:g}" if value < 1000 else f"{value / 1000:g}k"
    return f"1e{round(math.log10(value))}" if math.log10(value).is_integer() else f"{value:.0e}"


def bytes_ticks(axis: Axis, bytes_per_rate: float) -> list[tuple[float, str]]:
    """Ticks of a second scale in bytes a sample, placed in the axis's own units; none of sizes that no sample has."""
    low, high = axis.low * bytes_per_rate, axis.high * bytes_per_rate
    if not SMALLEST < low < high < LARGEST:
        return []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    sizes = [step * 10.0**decade for decade in decades for step in (1, 2, 5) if low <= step * 10.0**decade <= high]
    kept = sizes[:: max(1, math.ceil(len(sizes) / MAX_TICKS))]
    return [(size / bytes_per_rate, _short_bytes(size)) for size in kept]


def _short_bytes(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
