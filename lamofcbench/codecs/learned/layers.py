"""The layers of both networks, with the parameter and buffer names under which published checkpoints store them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv(inputs: int, outputs: int, kernel: int = 5, stride: int = 2) -> nn.Conv2d:
    """A convolution that divides height and width by its stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)


def deconv(inputs: int, outputs: int, kernel: int = 5, stride: int = 2) -> nn.ConvTranspose2d:
    """A transposed convolution that multiplies height and width by its stride."""
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding=kernel // 2, output_padding=stride - 1)


def deconv_to_one_channel(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """What a layer of `deconv` with one output makes of ``[B, inputs, H, W]``, about four times as fast.

    A pointwise convolution gives what each input pixel adds to each of its neighbours, which are then added up.
    """
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    batch, _, height, width = x.shape
    added = functional.conv2d(x, layer.weight[:, 0].flatten(1).t()[..., None, None])
    size = [(pixels - 1) * stride + kernel + layer.output_padding[0] for pixels in (height, width)]
    out = x.new_zeros(batch, *size)
    for row in range(kernel):
        for column in range(kernel):
            places = slice(row, row + height * stride, stride), slice(column, column + width * stride, stride)
            out[:, places[0], places[1]] += added[:, row * kernel + column]
    out = out[:, None, padding : padding + height * stride, padding : padding + width * stride]
    return out if layer.bias is None else out + layer.bias


class _LowerBoundFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, bound: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, bound)
        return torch.max(inputs, bound)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        inputs, bound = ctx.saved_tensors
        gradient = gradients[0]
        # A value below its bound may still move upwards, or it would stay there for ever.
        return gradient * ((inputs >= bound) | (gradient < 0)), None


class LowerBound(nn.Module):
    """``max(inputs, bound)``, whose gradient lets values below the bound move towards it."""

    bound: Tensor

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.register_buffer("bound", torch.tensor([bound]))

    def forward(self, inputs: Tensor) -> Tensor:
        """The bounded values."""
        bounded: Tensor = _LowerBoundFunction.apply(inputs, self.bound)
        return bounded


class NonNegative(nn.Module):
    """A parameter that is stored as a square root, so that what it stands for stays at or above a minimum."""

    pedestal: Tensor

    def __init__(self, minimum: float = 0.0, offset: float = 2.0**-18) -> None:
        super().__init__()
        self._pedestal = offset**2
        self.register_buffer("pedestal", torch.tensor([self._pedestal]))
        self.lower_bound = LowerBound((minimum + offset**2) ** 0.5)

    def stored(self, values: Tensor) -> Tensor:
        """What is stored for the given values."""
        return torch.sqrt(torch.clamp(values + self._pedestal, min=self._pedestal))

    def forward(self, stored: Tensor) -> Tensor:
        """What the stored values stand for."""
        bounded: Tensor = self.lower_bound(stored)
        return bounded**2 - self.pedestal


class GDN(nn.Module):
    """Generalised divisive normalisation: ``x_i / sqrt(beta_i + sum_j gamma_ij x_j^2)``, or its approximate inverse.

    Source: Balle, Laparra and Simoncelli, arXiv 1511.06281.
    """

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta_reparam = NonNegative(minimum=1e-6)
        self.beta = nn.Parameter(self.beta_reparam.stored(torch.ones(channels)))
        self.gamma_reparam = NonNegative()
        self.gamma = nn.Parameter(self.gamma_reparam.stored(0.1 * torch.eye(channels)))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, H, W]`` to the same shape."""
        norm = functional.conv2d(x * x, self.gamma_reparam(self.gamma)[..., None, None], self.beta_reparam(self.beta))
        return x * (torch.sqrt(norm) if self.inverse else torch.rsqrt(norm))


@torch.no_grad()
def scale_parameters(module: nn.Module, gain: float, *, biases_only: bool = False) -> None:
    """Multiplies parameters in place; scaled biases let a gain pass through linear layers and ReLUs unchanged."""
    for name, parameter in module.named_parameters():
        if not biases_only or name.rpartition(".")[2] == "bias":
            parameter.mul_(gain)


@torch.no_grad()
def undo_gain(layer: nn.Module, gain: float, channels: int | None = None) -> None:
    """Makes a convolution expect its inputs, or the first so many of them, multiplied by a gain."""
    assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
    weight[:, :channels].div_(gain)


class ResidualBottleneck(nn.Module):
    """Two pointwise convolutions around one of 3x3 at half the width, and a skip (He et al., arXiv 1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 2, 1)
        self.conv2 = conv(channels // 2, channels // 2, kernel=3, stride=1)
        self.conv3 = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, H, W]`` to the same shape."""
        out = functional.relu(self.conv1(x), inplace=True)
        out = functional.relu(self.conv2(out), inplace=True)
        refined: Tensor = self.conv3(out)
        return refined.add_(x)


class _ResidualUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv = nn.Sequential(
            nn.Conv2d(channels, half, 1),
            nn.ReLU(inplace=True),
            conv(half, half, kernel=3, stride=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv(x).add_(x), inplace=True)


class Attention(nn.Module):
    """A trunk, gated by a mask branch, and a skip (Cheng et al., arXiv 2001.01568, in its simplified form)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_a = nn.Sequential(*(_ResidualUnit(channels) for _ in range(3)))
        self.conv_b = nn.Sequential(*(_ResidualUnit(channels) for _ in range(3)), nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, H, W]`` to the same shape."""
        gated: Tensor = self.conv_a(x) * self.conv_b(x).sigmoid_()
        return gated.add_(x)

    def scale(self, gain: float) -> None:
        """Makes inputs multiplied by a gain give outputs multiplied by it; the gate, behind a sigmoid, must stay."""
        scale_parameters(self.conv_a, gain, biases_only=True)
        scale_parameters(self.conv_b[:-1], gain, biases_only=True)
        undo_gain(self.conv_b[-1], gain)


CHECKERBOARD_NAME = "context_prediction"


def checkerboard_mask(shape: Sequence[int]) -> Tensor:
    """1 where a kernel ``[outputs, inputs, K, K]``, K odd, sees the other colour of a checkerboard, else 0; float32."""
    mask = torch.ones(*shape)
    mask[..., 0::2, 0::2] = 0
    mask[..., 1::2, 1::2] = 0
    return mask


class CheckerboardConv2d(nn.Conv2d):
    """A convolution that sees only the neighbours of the other checkerboard colour (He et al., arXiv 2103.15306)."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int = 5) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.register_buffer("mask", checkerboard_mask(self.weight.shape))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, inputs, H, W]`` to ``[B, outputs, H, W]``."""
        return self._conv_forward(x, self.weight * self.mask, self.bias)


def straight_through_round(x: Tensor) -> Tensor:
    """Rounding whose gradient is the identity (Theis et al., arXiv 1703.00395)."""
    return x + (torch.round(x) - x).detach()
