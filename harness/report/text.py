"""How figures and names are written. Names come from results folders, so nothing of them is trusted."""

from __future__ import annotations

from collections.abc import Callable

from harness.report.summary import (
    RANKING_SAMPLES,
    RETAINED_PERCENTS,
    BDRateRecord,
    Estimate,
    FaithfulRate,
    LowErrorRate,
    RetainedRate,
)
from harness.statistics.curves import Bound

NOTHING = "\N{EN DASH}"
NEVER = "32 (never)"
"""A rate that no point of the curve keeps the score at."""
TIMES = "\N{MULTIPLICATION SIGN}"
MAX_NAME = 80
MAX_LINE = 400
LOW_OVERLAP = 0.75
"""Below this share of common quality range a BD-rate is marked."""


def count(number: int, what: str) -> str:
    """How many there are of something.

    Example:
        >>> count(1, "scenario"), count(2, "scenario")
        ('1 scenario', '2 scenarios')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def samples(number: int, test_samples: int) -> str:
    """How many samples figures cover, and of how many where a run left some out.

    Example:
        >>> samples(256, 256), samples(8, 256)
        ('256 samples', '8 of 256 samples')
    """
    return count(number, "sample") if number == test_samples else f"{number} of {count(test_samples, 'sample')}"


def shown(name: str, most: int = MAX_NAME) -> str:
    """A name on one line: control and other unprintable characters replaced, the middle of a long one left out.

    Example:
        >>> shown("my" + chr(27) + "[2J codec")
        'my�[2J codec'
    """
    name = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 + 1 :]}"


def metric_name(reference: str) -> str:
    """What to call a metric: its registered name, or its own name where a scenario takes it from a file.

    Example:
        >>> metric_name("accuracy"), metric_name("./mine.py:ErrorRate")
        ('accuracy', 'ErrorRate')
    """
    return shown(reference.rpartition(":")[2])


def number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, without an exponent where that stays readable.

    Example:
        >>> [number(v) for v in (0.0123456, 12.3456, 999.7, 1234.5, 0.0, None, 3.2e-7)]
        ['0.0123', '12.3', '1,000', '1,234', '0', '–', '3.2e-07']
    """
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) >= 10**digits - 0.5:  # which rounds to one digit more
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.{digits - 1}e}"
    if abs(value) < 1e-4:
        return f"{value:.{digits}g}"
    return f"{value:#.{digits}g}".removesuffix(".") if abs(value) >= 0.01 else f"{value:.{digits}g}"


def estimate(value: Estimate, digits: int = 3) -> str:
    """A figure with its interval.

    Example:
        >>> estimate(Estimate(value=2.5, low=2.25, high=2.75))
        '2.50 [2.25, 2.75]'
    """
    return _with_interval(value, lambda figure: number(figure, digits))


def times(value: Estimate) -> str:
    """A factor with its interval.

    Example:
        >>> times(Estimate(value=2.5, low=2.25, high=2.75))
        '2.50 × [2.25, 2.75]'
    """
    figure, _, bounds = estimate(value).partition(" ")
    return figure if value.value is None else " ".join(filter(None, (figure, TIMES, bounds)))


def lead(rate: float, next_rate: float, *, at_most: bool, next_at_most: bool) -> str:
    """How many times as much the next takes, where either rate may be but an upper bound; empty where both are.

    Example:
        >>> lead(2.0, 8.0, at_most=True, next_at_most=False), lead(2.0, 8.0, at_most=True, next_at_most=True)
        ('at least 4.00 times as much', '')
    """
    if at_most and next_at_most:  # the ratio may be anything
        return ""
    sign = "at least " if at_most else "at most " if next_at_most else ""
    return f"{sign}{number(next_rate / rate)} times as much"


def signed(value: Estimate, digits: int = 3) -> str:
    """A difference with its interval.

    Example:
        >>> signed(Estimate(value=2.5, low=-0.25, high=2.75))
        '+2.50 [-0.250, +2.75]'
    """
    return _with_interval(value, lambda figure: ("+" if figure > 0 else "") + number(figure, digits))


def percent(value: Estimate) -> str:
    """A share as per cent, with its interval.

    Example:
        >>> percent(Estimate(value=0.5, low=-1e-9, high=1.0)), percent(Estimate(value=1.0, low=1.0, high=1.0))
        ('50.0 [0.0, 100.0]', '100.0')
    """
    return _with_interval(value, lambda figure: f"{100 * figure:.1f}".replace("-0.0", "0.0"))


def _with_interval(value: Estimate, write: Callable[[float], str]) -> str:
    """The figure, and its interval where that is wider than the digits shown."""
    if value.value is None:
        return NOTHING
    figure = write(value.value)
    if value.low is None or value.high is None or write(value.low) == write(value.high) == figure:
        return figure
    return f"{figure} [{write(value.low)}, {write(value.high)}]"


def bounded(rate: float, bound: Bound | None) -> str:
    """A rate without its interval, with the sign of what kind of figure it is.

    Example:
        >>> bounded(2.0, "exact"), bounded(2.0, "at most"), bounded(32.0, "never")
        ('2.00', '≤ 2.00', '32 (never)')
    """
    return NEVER if bound == "never" else f"{'≤ ' if bound == 'at most' else ''}{number(rate)}"


def reached_rate(reached: RetainedRate | FaithfulRate | LowErrorRate) -> str:
    """EBPFP@p, @nats or @error: ``≤`` for an upper bound; 32 stands for a curve that never gets there.

    Example:
        >>> reached_rate(RetainedRate(percent=95, ebpfp=Estimate(value=2.0), bound="at most", compression=16.0))
        '≤ 2.00'
    """
    if reached.ebpfp.value is None:
        return NOTHING
    if reached.bound == "never":
        low = reached.ebpfp.low
        return NEVER + (f" [{number(low)}, 32]" if low is not None and low < 32 else "")
    return f"{'≤ ' if reached.bound == 'at most' else ''}{estimate(reached.ebpfp)}"


def level_reason(percent: int) -> str:
    """Why codecs are ranked at 99 % of the score; empty for 95 %, where nobody asks.

    Example:
        >>> level_reason(99)
        ' (99 %, not 95 %, from 400 samples on)'
    """
    return f" ({percent} %, not 95 %, from {RANKING_SAMPLES} samples on)" if percent > RETAINED_PERCENTS[0] else ""


def bd_rate(record: BDRateRecord) -> str:
    """Signed per cent; ``†`` where the curves share little of the quality range.

    Example:
        >>> bd_rate(BDRateRecord(percent=-12.34, overlap=0.5, reason=""))
        '-12.3 % †'
    """
    if record.percent is None:
        return NOTHING
    mark = " †" if has_low_overlap(record) else ""
    return f"{rate_change(Estimate(value=record.percent, low=record.low, high=record.high))}{mark}"


def has_low_overlap(record: BDRateRecord) -> bool:
    """Whether a BD-rate is of curves that share little of the quality range.

    Example:
        >>> [has_low_overlap(BDRateRecord(percent=p, overlap=0.5, reason="")) for p in (-12.34, None)]
        [True, False]
    """
    return record.percent is not None and record.overlap is not None and record.overlap < LOW_OVERLAP


def rate_change(value: Estimate) -> str:
    """A rate difference in per cent, with its interval.

    Example:
        >>> rate_change(Estimate(value=-12.34, low=-13.0, high=-11.0))
        '-12.3 % [-13.0, -11.0]'
    """
    if value.value is None:
        return NOTHING
    figure, _, interval = _with_interval(value, lambda change: f"{change:+.1f}").partition(" ")
    return " ".join(filter(None, (figure, "%", interval)))


def duration(seconds: float | None) -> str:
    """Seconds in a unit that fits.

    Example:
        >>> [duration(s) for s in (0.0000123, 0.0123, 12.3)]
        ['12.3 µs', '12.3 ms', '12.3 s']
    """
    if seconds is None:
        return NOTHING
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds * 1e6)} µs"


def size(bytes_: float) -> str:
    """Bytes with thousands separators, one decimal below a thousand."""
    return f"{bytes_:,.0f}" if bytes_ >= 1000 else f"{bytes_:.1f}".removesuffix(".0")


def megabytes(bytes_: float) -> str:
    """A size in 10^6 bytes.

    Example:
        >>> megabytes(10_812_000), megabytes(0)
        ('10.8 MB', '0')
    """
    return f"{number(bytes_ / 1e6)} MB" if bytes_ else "0"
