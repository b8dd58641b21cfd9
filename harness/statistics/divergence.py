"""Divergence: how far what predictions are made from is from what it was, on the way to any decision.

Scores of small splits move in steps of a sample; this moves with every bit. Each kind of response has its own measure:

- ``logits``: the Kullback-Leibler divergence of decoded from original distributions, in nats. See Kullback and Leibler,
  "On Information and Sufficiency", 1951.
- ``values``: the squared error over the energy of the original about its mean: the share of what varies in the
  response that is lost, without unit. It is 0 for the original and 1 for its mean, whatever the unit and the offset of
  the values are; a plain relative error would call a depth map of 10 m to 11 m nearly right once its mean is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lamofcbench.models.base import ResponseKind

FLAT = 1e-6
"""The least energy about the mean that counts, of the energy about zero: a response that is flat but for rounding."""


def divergence(kind: ResponseKind, original: Tensor, decoded: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
    """How far each decoded response is from the original one; differentiable in the decoded ones.

    Args:
        kind: of the responses.
        original: ``[B, N, K]``; no gradient reaches it.
        decoded: of the same shape.
        lengths: how many of the N positions of each sample count; None for all.

    Returns:
        float64 ``[B]``. ``logits``: nats, summed over positions; ``values``: squared error over energy. At least 0; 0
        where there is no position; NaN where a value that counts is not finite.

    Raises:
        ValueError: if the shapes differ, or there is no such kind.

    Example:
        >>> divergence("values", torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[1.0, 2.0]]])).tolist()
        [0.5]
    """
    if original.shape != decoded.shape:
        raise ValueError(f"shapes differ: {list(original.shape)} and {list(decoded.shape)}")
    counts = [original.shape[1]] * len(original) if lengths is None else lengths
    samples = [
        _of_sample(kind, was[:count], found[:count])
        for was, found, count in zip(original.detach(), decoded, counts, strict=True)
    ]
    return torch.stack(samples) if samples else original.new_zeros(0, dtype=torch.float64)


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
    return float(divergence("logits", original[None], decoded.detach()[None]))


def squared_error(original: Tensor, decoded: Tensor) -> Tensor:
    """The summed squared error of values ``[N, K]``, float64 ``[]``."""
    return (original.double() - decoded.double()).square().sum()


def energy(original: Tensor) -> Tensor:
    """The energy of values ``[N, K]`` about their mean, float64 ``[]``; at least `FLAT` of that about zero."""
    values = original.double()
    if not values.numel():
        return values.new_zeros(())
    return (values - values.mean()).square().sum().clamp(min=FLAT * float(values.square().sum()))


def _of_sample(kind: ResponseKind, original: Tensor, decoded: Tensor) -> Tensor:
    """The divergence of one response, ``[N, K]``, float64 ``[]``."""
    if not (torch.isfinite(original).all() and torch.isfinite(decoded).all()):
        return decoded.new_full((), math.nan, dtype=torch.float64)
    if kind == "logits":
        expected, found = original.float().log_softmax(-1), decoded.float().log_softmax(-1)
        difference = (expected - found).mul_(expected.exp_())
        positions = difference.sum(-1, dtype=torch.float64)  # rounding may leave a position a little below 0
        return positions.clamp(min=0).sum()
    if kind == "values":
        # All that is 0 has no scale: an error in it is as many times too large as a number can say.
        return squared_error(original, decoded) / energy(original).clamp(min=torch.finfo(torch.float64).tiny)
    raise ValueError(f"kind is {kind!r}; responses are 'logits' or 'values'")
