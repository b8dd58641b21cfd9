"""Surprise: how unlikely responses to decoded features hold what the uncoded ones might have led to.

What might have been is drawn from the original response. In expectation the gradient of the surprise is that of the
divergence; the mean outer product of its gradients is what tells directions apart, because it does not vanish where
the divergence does: it holds the Fisher information besides. See Kunstner, Balles and Hennig, "Limitations of the
empirical Fisher approximation", arXiv 1905.12558.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lamofcbench.models.base import ResponseKind


def surprise(
    kind: ResponseKind, original: Tensor, decoded: Tensor, lengths: Sequence[int], generator: torch.Generator
) -> Tensor:
    """The surprise at one draw a sample, summed over samples and positions; differentiable in the decoded ones.

    Args:
        kind: of the responses. ``logits``: a choice at each position is drawn from the original distribution, and the
            surprise is its negative logarithm by the decoded one; ``values``: Gaussian noise as large as the error of
            the sample is added to the original, and the surprise is the squared error over twice its variance.
        original: ``[B, N, K]``; no gradient reaches it.
        decoded: of the same shape.
        lengths: how many of the N positions of each sample count.
        generator: on the CPU, so that all devices draw the same.

    Raises:
        ValueError: if responses are of another kind.
    """
    if kind not in ("logits", "values"):
        raise ValueError(f"no surprise is defined for responses of kind {kind!r}")
    total = decoded.new_zeros((), dtype=torch.float32)
    for was, found, length in zip(original.detach(), decoded, lengths, strict=True):
        if not length:
            continue
        was, found = was[:length].float(), found[:length].float()
        if kind == "logits":
            chosen = torch.multinomial(was.softmax(-1).cpu(), 1, generator=generator).to(found.device)
            total = total - found.log_softmax(-1).gather(-1, chosen).sum()
        else:
            variance = (found.detach() - was).square().mean().clamp(min=torch.finfo(torch.float32).tiny)
            noise = torch.randn(was.shape, generator=generator).to(found.device)
            total = total + (found - was - variance.sqrt() * noise).square().sum() / (2 * variance)
    return total
