"""The batch plan: which samples are computed together.

Batch composition changes generated tokens, so the plan is a pure function of sample order and the scenario's batch
size: batch ``k`` holds samples ``[k * size, (k + 1) * size)`` of the whole split, whatever the limit, the number of
processes or what an earlier run has already done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Batch(NamedTuple):
    """Samples ``[start, stop)`` of a split, computed together."""

    number: int
    start: int
    stop: int


def batch_plan(samples: int, batch_size: int, limit: int | None = None) -> list[Batch]:
    """The batches of a split.

    Args:
        samples: how many the split holds.
        batch_size: the scenario's.
        limit: how many samples the report is to cover. The batches that hold them are computed whole.

    Example:
        >>> batch_plan(samples=10, batch_size=4, limit=5)
        [Batch(number=0, start=0, stop=4), Batch(number=1, start=4, stop=8)]
    """
    wanted = samples if limit is None else min(limit, samples)
    batches = -(-wanted // batch_size)
    return [Batch(k, k * batch_size, min((k + 1) * batch_size, samples)) for k in range(batches)]


def share(batches: Sequence[Batch], rank: int, processes: int) -> list[Batch]:
    """The batches that one of several processes computes.

    Example:
        >>> [batch.number for batch in share(batch_plan(10, 2), rank=1, processes=2)]
        [1, 3]
    """
    return list(batches[rank::processes])
