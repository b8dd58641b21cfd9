"""Which rate points of a ladder to keep where only a few are to run: those that draw the curve best, about its knee.

What is known before a run decides how. Where `lamofcbench ladder` has measured retention on calibration samples, points
are kept one by one: the ends first, then always the one that straight lines through those kept so far miss most, which
finds the knees. Without that, points are spread evenly over the ladder but for its first one, which codecs put next to
lossless: uncoded features, which every run has, stand at that end already, and two points of the full score are one too
many for a BD-rate, which needs four of rising quality. On 63 curves of the mini edition (three codecs of ten or twelve
points), five points gave a BD-rate on 34 when spread over all of the ladder, on 45 without its first, and on 55 by
retention; all points gave one on 58.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.statistics.curves import keeps

KEPT = 0.95
"""The share of the score that a single point is to keep."""


def by_order(count: int, points: int) -> list[int]:
    """Places on a ladder of which nothing is known but its order, from the highest rate to the lowest.

    Args:
        count: rate points of the ladder.
        points: how many to keep, at least 1. One is the middle. Of two, and where there is hardly a choice, the first
            of the ladder is one; else it is left out.

    Example:
        >>> by_order(10, 1), by_order(10, 2), by_order(10, 5), by_order(6, 5)
        ([5], [0, 9], [1, 3, 5, 7, 9], [0, 1, 2, 4, 5])
    """
    if points >= count:
        return list(range(count))
    if points == 1:
        return [count // 2]
    first = 1 if 2 < points < count - 1 else 0
    return [first + round(index * (count - 1 - first) / (points - 1)) for index in range(points)]


def by_retention(rates: Sequence[float], retentions: Sequence[float], points: int) -> list[int]:
    """Places on a ladder whose curve is known, in its order.

    Args:
        rates: EBPFP, positive, in any order.
        retentions: of each.
        points: how many to keep, at least 1. One is the lowest rate that keeps 95 %, or else the highest retention.

    Example:
        >>> by_retention([16, 8, 4, 2, 1], [1.0, 1.0, 0.99, 0.5, 0.0], 3)
        [0, 2, 4]
    """
    if points >= len(rates):
        return list(range(len(rates)))
    if points == 1:
        keeping = [at for at, value in enumerate(retentions) if keeps(value, KEPT)]
        return [min(keeping, key=rates.__getitem__) if keeping else int(np.argmax(retentions))]
    order = np.argsort(rates, kind="stable")
    x, y = np.log2(np.asarray(rates, np.float64)[order]), np.asarray(retentions, np.float64)[order]
    kept = [0, len(order) - 1]
    while len(kept) < points:
        missed = np.abs(np.interp(x, x[kept], y[kept]) - y)
        missed[kept] = -1.0
        kept = sorted([*kept, int(missed.argmax())])
    return sorted(int(order[at]) for at in kept)
