"""How faithful a codec's responses are, and at which rate they are faithful enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.report.scored import Draws, Scored, estimate
from harness.report.summary import FAITHFUL_ERROR, FAITHFUL_NATS, Estimate, FaithfulRate, LowErrorRate
from harness.statistics import curves
from lamofcbench.models.base import ResponseKind


def divergence(entry: Scored, kind: ResponseKind) -> Estimate:
    """The divergence of a result's responses with its interval.

    Args:
        entry: a result.
        kind: of the responses that are asked for; null for others, where there are none, and where it is not finite.
    """
    nats_or_error = _figure(entry)
    if math.isnan(nats_or_error) or _kind(entry) != kind:
        return Estimate(value=None)
    return estimate(nats_or_error, entry.divergence_draws)


def faithful_rate(entries: Sequence[Scored]) -> tuple[FaithfulRate | LowErrorRate | None, Draws | None]:
    """EBPFP@nats or @error of a codec's curve, and its draws; None where its model shows no responses.

    Args:
        entries: a codec's results.
    """
    kinds = {_kind(entry) for entry in entries}
    if kinds == {"logits"}:
        ebpfp, bound, drawn = _rate_at(entries, FAITHFUL_NATS)
        return FaithfulRate(nats=FAITHFUL_NATS, ebpfp=ebpfp, bound=bound), drawn
    if kinds == {"values"}:
        ebpfp, bound, drawn = _rate_at(entries, FAITHFUL_ERROR)
        return LowErrorRate(error=FAITHFUL_ERROR, ebpfp=ebpfp, bound=bound), drawn
    return None, None


def _rate_at(entries: Sequence[Scored], most: float) -> tuple[Estimate, curves.Bound | None, Draws | None]:
    """The rate at which responses diverge by ``most``, what kind of figure that is, and its draws."""
    rates = [entry.ebpfp for entry in entries]
    found = curves.rate_at_divergence(rates, [_figure(entry) for entry in entries], most)
    if found is None:
        return Estimate(value=None), None, None
    divergences = [entry.divergence_draws for entry in entries if entry.divergence_draws is not None]
    drawn = None
    if len(divergences) == len(entries) and len(divergences[0]):
        rate_draws = np.stack([entry.rate_draws for entry in entries], axis=-1)
        drawn = curves.rates_at_divergence(rate_draws, np.stack(divergences, axis=-1), most)
    return estimate(found.ebpfp, drawn), found.bound, drawn


def _kind(entry: Scored) -> ResponseKind | None:
    fidelity = entry.item.result.fidelity
    return None if fidelity is None else fidelity.kind


def _figure(entry: Scored) -> float:
    fidelity = entry.item.result.fidelity
    return math.nan if fidelity is None or fidelity.figure is None else fidelity.figure
