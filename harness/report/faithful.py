"""How faithful a codec's responses are, and at which rate they are faithful enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.report.scored import Draws, Scored, estimate
from harness.report.summary import FAITHFUL_NATS, Estimate, FaithfulRate
from harness.statistics import curves


def divergence(entry: Scored) -> Estimate:
    """The divergence of a result's responses with its interval; null where there is none, or it is not finite."""
    nats = _nats(entry)
    return Estimate(value=None) if math.isnan(nats) else estimate(nats, entry.divergence_draws)


def faithful_rate(entries: Sequence[Scored]) -> tuple[FaithfulRate | None, Draws | None]:
    """EBPFP@nats of a codec's curve, and its draws; None where its model shows no responses.

    Args:
        entries: a codec's results.
    """
    if any(entry.item.result.fidelity is None for entry in entries):
        return None, None
    rates = [entry.ebpfp for entry in entries]
    found = curves.rate_at_divergence(rates, [_nats(entry) for entry in entries], FAITHFUL_NATS)
    if found is None:
        return FaithfulRate(nats=FAITHFUL_NATS, ebpfp=Estimate(value=None), bound=None), None
    divergences = [entry.divergence_draws for entry in entries if entry.divergence_draws is not None]
    drawn = None
    if len(divergences) == len(entries) and len(divergences[0]):
        rate_draws = np.stack([entry.rate_draws for entry in entries], axis=-1)
        drawn = curves.rates_at_divergence(rate_draws, np.stack(divergences, axis=-1), FAITHFUL_NATS)
    return FaithfulRate(nats=FAITHFUL_NATS, ebpfp=estimate(found.ebpfp, drawn), bound=found.bound), drawn


def _nats(entry: Scored) -> float:
    fidelity = entry.item.result.fidelity
    return math.nan if fidelity is None or fidelity.divergence_nats is None else fidelity.divergence_nats
