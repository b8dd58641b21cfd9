"""Initial weights that make a network a block transform, from which training goes on.

Index planes are close to noise: hardly any direction of a block of 16x16 elements can be dropped at the higher rates.
From random weights, transforms take most of a training to become nearly invertible. So they start as the orthogonal
Walsh-Hadamard transform of 16x16 blocks, a Haar step in each of the four strided convolutions, whose quantisation
noise is the distortion at which a rate-distortion curve has the slope lambda: ``D = 1 / (2 ln 2 lambda)``. What is
beside that transform, spare channels and residual blocks, starts with no influence on it. All of it is trained.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from harness.training.objective import PEAK
from lamofcbench.codecs.learned.layers import GDN, Attention, ResidualBottleneck
from lamofcbench.codecs.learned.network import LearnedNetwork

PLANE_DEVIATION = 0.15
"""About the standard deviation of planes in [0, 1)."""
_GDN_GAMMA = 0.01
_GATE_BIAS = -6.0  # an attention's gate, which starts almost closed


@torch.no_grad()
def start_as_block_transform(network: LearnedNetwork, lmbda: float) -> None:
    """Overwrites a network's fresh weights.

    Args:
        network: of which analysis ``g_a`` and synthesis ``g_s`` are transforms with four steps of stride 2.
        lmbda: decides the step of the quantiser.
    """
    gain = math.sqrt(PEAK**2 * 2 * math.log(2) * lmbda / 12)
    for module in network.modules():
        if isinstance(module, GDN):
            module.gamma.copy_(module.gamma_reparam.stored(_GDN_GAMMA * torch.eye(len(module.beta))))
        elif isinstance(module, ResidualBottleneck):
            _clear(module.conv3)
        elif isinstance(module, Attention):
            gate = module.conv_b[-1]
            assert isinstance(gate, nn.Conv2d) and gate.bias is not None
            gate.bias.fill_(_GATE_BIAS)
    down = [m for m in network.get_submodule("g_a").children() if isinstance(m, nn.Conv2d)]
    up = [m for m in network.get_submodule("g_s").children() if isinstance(m, nn.ConvTranspose2d)][::-1]
    channels = 1
    orders = [0]  # how many times a channel has been high-passed
    for number, (analysis, synthesis) in enumerate(zip(down, up, strict=True)):
        last = number == len(down) - 1
        steps = sorted(
            itertools.product(range(channels), range(4)), key=lambda step: (orders[step[0]] + _order(step[1]), step)
        )[: analysis.out_channels]
        assert analysis.bias is not None and synthesis.bias is not None
        analysis.weight[: len(steps)] = 0
        analysis.bias[: len(steps)] = 0
        synthesis.weight[:, :channels] = 0
        synthesis.bias[:channels] = 0
        for output, (source, kernel) in enumerate(steps):
            analysis.weight[output, source, 2:4, 2:4] += _haar(kernel) * (gain if last else 1)
            synthesis.weight[output, source, 2:4, 2:4] += _haar(kernel) / (gain if last else 1)
        orders = [orders[source] + _order(kernel) for source, kernel in steps]
        channels = len(steps)
    assert down[0].bias is not None and up[0].bias is not None
    down[0].bias[0] -= 1.0  # the low pass of a plane of mean one half
    up[0].bias += 0.5
    _expect_deviation(network, gain * PLANE_DEVIATION)


def _haar(kernel: int) -> Tensor:
    """One of the four orthogonal kernels of 2x2."""
    rows = torch.tensor([1.0, -1.0 if kernel & 2 else 1.0])
    columns = torch.tensor([1.0, -1.0 if kernel & 1 else 1.0])
    return 0.5 * rows[:, None] * columns


def _order(kernel: int) -> int:
    return (kernel & 1) + (kernel >> 1)


def _clear(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()


def _expect_deviation(network: LearnedNetwork, deviation: float) -> None:
    """Makes what predicts the latents' scales start near a deviation: the first half of its outputs, or all."""
    for name, module in network.named_modules():
        if name == "h_s":  # the scale hyperprior, whose last layer is a ReLU
            assert isinstance(module, nn.Sequential)
            _predict(module[-2], deviation, share=1.0)
        elif name.endswith("entropy_parameters"):
            assert isinstance(module, nn.Sequential)
            _predict(module[-1], deviation, share=0.5)


def _predict(layer: nn.Module, deviation: float, share: float) -> None:
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    layer.weight.mul_(0.1)
    layer.bias[: int(len(layer.bias) * share)] += deviation
