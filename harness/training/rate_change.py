"""Moves a trained network to another rate: the same transforms and contexts with another step of the quantiser.

Latents are rounded to integers, so a coarser step means smaller latents. Multiplying them by a gain, and undoing it
wherever they are read, changes nothing but that step. From there a rate point has little left to learn. The distortion
at which a rate-distortion curve has the slope lambda is in proportion to its inverse, so the gain from one lambda to
another is the square root of their ratio.

Every layer between latents and where the gain is undone is linear or a ReLU. So biases take the gain in between, and
one kernel undoes it: large kernels stay as they are and may be shared by rate points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lamofcbench.codecs.learned.elic import Elic
from lamofcbench.codecs.learned.hyperprior import ScaleHyperprior
from lamofcbench.codecs.learned.layers import Attention
from lamofcbench.codecs.learned.network import LearnedNetwork


@torch.no_grad()
def change_rate(network: LearnedNetwork, lmbda: float, new_lmbda: float) -> None:
    """Scales a network's latents in place from what one lambda asks for to what another does.

    Args:
        network: trained at the first lambda.
        lmbda: the first.
        new_lmbda: the other.

    Raises:
        TypeError: for a network that is neither of the two known ones.
    """
    gain = math.sqrt(new_lmbda / lmbda)
    if isinstance(network, ScaleHyperprior):
        _scale(network.g_a[6], gain)
        _undo(network.g_s[0], gain)
        _hyper_analysis(network.h_a, gain)
        _scale(network.h_s[4], gain)
    elif isinstance(network, Elic):
        _scale(network.g_a[13], gain)
        _attention(network.g_a[14], gain)
        _attention(network.g_s[0], gain)
        _undo(network.g_s[1], gain)
        _hyper_analysis(network.latent_codec.hyper.h_a, gain)
        for number, width in enumerate(network.groups):
            _group(network, number, width, gain)
    else:
        raise TypeError(f"the latents of a {type(network).__name__} cannot be scaled")


def _group(network: Elic, number: int, width: int, gain: float) -> None:
    """The contexts of a group see scaled latents; its parameters are of scaled ones."""
    group = network.latent_codec.y.group(number)
    contexts = 2 * width
    _scale_biases(group.context_prediction, gain)
    if number:
        contexts += 2 * width
        _scale_biases(network.latent_codec.y.context(number), gain)
    first = group.entropy_parameters[0]
    assert isinstance(first, nn.Conv2d)
    first.weight[:, :contexts].div_(gain)
    _scale(group.entropy_parameters[-1], gain)


def _hyper_analysis(analysis: nn.Sequential, gain: float) -> None:
    """Hyper-latents stay as they are."""
    _scale_biases(analysis[:-1], gain)
    _undo(analysis[-1], gain)


def _attention(attention: nn.Module, gain: float) -> None:
    """Trunk and skip take the gain; the gate, behind a sigmoid, must not."""
    assert isinstance(attention, Attention)
    _scale_biases(attention.conv_a, gain)
    _scale_biases(attention.conv_b[:-1], gain)
    _undo(attention.conv_b[-1], gain)


def _scale(layer: nn.Module, gain: float) -> None:
    for parameter in layer.parameters():
        parameter.mul_(gain)


def _undo(layer: nn.Module, gain: float) -> None:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    weight.div_(gain)


def _scale_biases(module: nn.Module, gain: float) -> None:
    for bias in _biases(module):
        bias.mul_(gain)


def _biases(module: nn.Module) -> Iterator[Tensor]:
    return (parameter for name, parameter in module.named_parameters() if name.rpartition(".")[2] == "bias")
