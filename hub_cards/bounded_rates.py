"""Stored rates, their means and ratios, with what kind of figure each is: no table shows a bound as an exact figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.statistics.curves import ReachedRate, geometric_mean, joint_bound

UNKNOWN = ReachedRate(math.nan, "exact")
"""Stands for a rate that was not measured."""

SIGNS = {"at most": "≤ ", "never": "never "}
"""Of rates that are bounds."""


def reached(part: Mapping[str, Any] | None) -> ReachedRate:
    """A rate as `edition_leaderboard.bounded` stores it.

    Example:
        >>> reached({"ebpfp": {"value": 2.0}, "bound": "at most"})
        ReachedRate(ebpfp=2.0, bound='at most')
    """
    value = None if part is None else part["ebpfp"]["value"]
    return UNKNOWN if part is None or value is None else ReachedRate(value, part["bound"] or "exact")


def mean_rate(rates: Sequence[ReachedRate]) -> ReachedRate:
    """The geometric mean of rates; unknown where there are none, or one of them is.

    Example:
        >>> mean_rate([ReachedRate(2.0, "exact"), ReachedRate(8.0, "at most")])
        ReachedRate(ebpfp=4.0, bound='at most')
    """
    if not rates or any(math.isnan(rate.ebpfp) for rate in rates):
        return UNKNOWN
    return ReachedRate(
        float(geometric_mean([rate.ebpfp for rate in rates])), joint_bound([rate.bound for rate in rates])
    )


def three_digits(value: float) -> str:
    """A figure as most tables show it."""
    return f"{value:.3g}"


def shown(rate: ReachedRate, write: Callable[[float], str] = three_digits) -> str:
    """A rate with the sign of what kind of figure it is; a dash where it is not known.

    Example:
        >>> shown(ReachedRate(2.0, "at most")), shown(ReachedRate(32.0, "never")), shown(UNKNOWN)
        ('≤ 2', 'never 32', '-')
    """
    return "-" if math.isnan(rate.ebpfp) else SIGNS.get(rate.bound, "") + write(rate.ebpfp)


def factor(rate: ReachedRate, over: ReachedRate) -> str:
    """How many times another a rate is: a bound where one of them is, a dash where both are and it may be anything.

    Example:
        >>> one, most = ReachedRate(4.0, "exact"), ReachedRate(2.0, "at most")
        >>> factor(one, most), factor(most, one), factor(most, most)
        ('≥ 2.00', '≤ 0.50', '-')
    """
    at_most, over_at_most = (one.bound == "at most" for one in (rate, over))
    if math.isnan(rate.ebpfp / over.ebpfp) or (at_most and over_at_most):
        return "-"
    sign = "≤ " if at_most else "≥ " if over_at_most else ""
    return f"{sign}{rate.ebpfp / over.ebpfp:.2f}"
