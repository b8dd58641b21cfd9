"""Pareto fronts: what no other choice beats in rate, score and decode speed at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.report.scored import Scored
from harness.report.summary import CodecSummary

FRONT_DRAWS = 200

SPEED_NOISE = 0.1
"""Speeds that differ by less than this share are equal: the machine's load moves them as much."""


def on_front(goods: ArrayLike, margins: Sequence[float] | None = None) -> NDArray[np.bool_]:
    """Which alternatives are not dominated: none is at least as good in every respect and better in one.

    Args:
        goods: ``[..., alternatives, respects]``, larger is better.
        margins: for each respect the difference up to which two figures are equal; zero where None. At most one may be
            positive, or alternatives could dominate each other in a circle.

    Returns:
        ``[..., alternatives]``; equal alternatives are on the front together.

    Example:
        >>> on_front([[3, 1], [2, 2], [1, 1]]).tolist()
        [True, True, False]
        >>> on_front([[3, 1], [2, 1.05]], margins=[0, 0.1]).tolist()
        [True, False]
    """
    goods = np.asarray(goods, dtype=np.float64)
    margin = np.zeros(goods.shape[-1]) if margins is None else np.asarray(margins, dtype=np.float64)
    lead = goods[..., None, :, :] - goods[..., :, None, :]
    dominated = ((lead >= -margin).all(axis=-1) & (lead > margin).any(axis=-1)).any(axis=-1)
    return np.asarray(~dominated)


def log_speed(speeds: ArrayLike) -> NDArray[np.float64]:
    """Speeds in units in which `SPEED_NOISE` is a difference of 1."""
    return np.asarray(np.log(speeds) / np.log1p(SPEED_NOISE))


def with_fronts(
    codecs: Sequence[CodecSummary], entries: Mapping[str, Sequence[Scored]], direction: str
) -> list[CodecSummary]:
    """The codecs, each of their points marked as on the front or not; anchor and floor take no part.

    Speeds are those measured, the same in every draw; rates and scores are drawn.

    Args:
        codecs: of one scenario.
        entries: by codec, the results of its points in their order.
        direction: of the score.
    """
    chosen = [
        (codec.codec, at)
        for codec in codecs
        for at, point in enumerate(codec.points)
        if codec.role == "codec" and point.decode_mb_per_s is not None and point.ebpfp is not None
    ]
    if not chosen:
        return list(codecs)
    sign = 1.0 if direction == "up" else -1.0
    by_name = {codec.codec: codec.points for codec in codecs}
    points = [by_name[name][at] for name, at in chosen]
    scored = [entries[name][at] for name, at in chosen]
    speeds = log_speed(np.array([point.decode_mb_per_s for point in points], np.float64))
    rates, scores = np.array([e.ebpfp for e in scored]), np.array([e.item.result.score for e in scored])
    margins = (0.0, 0.0, 1.0)
    flags = on_front(np.stack([-rates, sign * scores, speeds], axis=-1), margins)
    score_draws = [entry.score_draws for entry in scored if entry.score_draws is not None]
    shares: list[float | None] = [None] * len(chosen)
    if len(score_draws) == len(scored) and len(scored[0].rate_draws):
        draws = [-np.stack([e.rate_draws for e in scored], -1), sign * np.stack(score_draws, -1)]
        draws = [values[:FRONT_DRAWS] for values in draws]
        goods = np.stack([*draws, np.broadcast_to(speeds, draws[0].shape)], axis=-1)
        goods = goods[np.isfinite(goods).all(axis=(1, 2))]  # a draw of nothing but samples without features has no rate
        if len(goods):
            shares = [float(share) for share in np.mean([on_front(draw, margins) for draw in goods], axis=0)]
    updates = {
        place: {"on_front": bool(flag), "front_share": share}
        for place, flag, share in zip(chosen, flags, shares, strict=True)
    }
    return [
        codec.model_copy(
            update={
                "points": [
                    point.model_copy(update=updates.get((codec.codec, at), {})) for at, point in enumerate(codec.points)
                ]
            }
        )
        for codec in codecs
    ]
