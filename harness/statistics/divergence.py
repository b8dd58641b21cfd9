"""Divergence: how far what predictions are made from is from what it was, on the way to any decision.

Scores of small splits move in steps of a sample; this moves with every bit. See Kullback and Leibler, "On Information
and Sufficiency", 1951.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def kl_divergence(original: Tensor, decoded: Tensor) -> float:
    """The Kullback-Leibler divergence of decoded from original distributions, summed over positions, in nats.

    That is the expected number of nats by which a text of the original model is dearer to one that believes the
    decoded distributions.

    Args:
        original: logits, ``[N, K]``.
        decoded: logits of the same shape.

    Returns:
        At least 0; 0 where there is no position; NaN where a logit is not finite.

    Example:
        >>> round(kl_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3)]])), 6)
        0.143841
    """
    if original.shape != decoded.shape:
        raise ValueError(f"shapes differ: {list(original.shape)} and {list(decoded.shape)}")
    if not (torch.isfinite(original).all() and torch.isfinite(decoded).all()):
        return math.nan
    expected, found = original.float().log_softmax(-1), decoded.float().log_softmax(-1)
    difference = (expected - found).mul_(expected.exp_())
    positions = difference.sum(-1, dtype=torch.float64)  # rounding may leave a position a little below 0
    return math.fsum(positions.clamp(min=0).tolist())
