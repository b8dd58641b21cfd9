"""The rate-distortion loss of a network on crops, of which padding counts as bits but not as error."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lamofcbench.codecs.learned.entropy_models import EntropyModel
from lamofcbench.codecs.learned.layers import GDN
from lamofcbench.codecs.learned.network import LearnedNetwork

PEAK = 255.0
"""Errors of planes in [0, 1) are weighed as if their peak were this, as image codecs do."""


class RateDistortion(nn.Module):
    """Bits and error of a network on crops.

    Args:
        network: what is trained.
    """

    def __init__(self, network: LearnedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor, valid: Tensor) -> Tensor:
        """Sums over crops: bits, squared error, and elements that are no padding.

        Padding is coded, so its bits count; what it decodes to is thrown away, so its error does not.

        Args:
            planes: ``[B, 1, H, W]`` in [0, 1).
            valid: bool of the same shape; False in the padding.

        Returns:
            Float32 ``[3]``.
        """
        output = self.network(planes)
        bits = torch.stack([-torch.log2(likelihood.float()).sum() for likelihood in output.likelihoods.values()])
        errors = (output.reconstruction.float() - planes).square() * valid
        return torch.stack([bits.sum(), errors.sum(), valid.sum().float()])


@dataclass(frozen=True)
class Losses:
    """A loss and its parts, as floats or tensors.

    Attributes:
        loss: ``bpp`` plus lambda times ``255**2`` times ``mse``.
        bpp: bits an element of the planes.
        mse: mean squared error of planes in [0, 1).
    """

    loss: Any
    bpp: Any
    mse: Any


def losses_of_sums(sums: Any, lmbda: float) -> Losses:
    """The losses of sums as `RateDistortion` returns them.

    Example:
        >>> losses_of_sums([300.0, 1.0, 100.0], lmbda=1 / 255**2)
        Losses(loss=3.01, bpp=3.0, mse=0.01)
    """
    bits, error, elements = sums
    bpp, mse = bits / elements, error / elements
    return Losses(bpp + lmbda * PEAK**2 * mse, bpp, mse)


def keep_full_precision(network: LearnedNetwork, precision: str) -> None:
    """Makes what needs it compute in fp32 under autocast.

    Args:
        network: whose modules are changed in place.
        precision: of all others. Entropy models have probabilities too small for any 16 bits; the squares in
            normalisations are too large for fp16, but not for bf16.
    """
    kinds = (EntropyModel, GDN) if precision == "fp16" else (EntropyModel,)
    for module in network.modules():
        if isinstance(module, kinds):
            module.forward = functools.partial(_in_full_precision, module.forward)  # type: ignore[method-assign]


def _in_full_precision(forward: Any, *inputs: Tensor) -> Any:
    device_type = inputs[0].device.type
    if not torch.is_autocast_enabled(device_type):
        return forward(*inputs)
    with torch.autocast(device_type, enabled=False):
        return forward(*(x.float() for x in inputs))
