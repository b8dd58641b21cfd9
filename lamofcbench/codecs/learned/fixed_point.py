"""Convolutions whose results are the same bits on every machine, for what a decoder's entropy model depends on.

Weights are rounded to multiples of ``2**-23``, activations to multiples of ``2**-20``. Products are then multiples of
``2**-43``, and float64 adds them without any rounding while sums stay below ``2**10``: whatever the order of additions,
the number of threads, the library or the device, the result is the same. (Beyond that bound sums round in their last
bit, which the rounding of activations hides nearly always; a checksum turns the rest into errors.)
The idea of integer arithmetic for entropy models is that of Balle, Johnston and Minnen, "Integer Networks for Data
Compression with Latent-Variable Models", ICLR 2019.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamofcbench.codecs.learned.layers import CheckerboardConv2d

WEIGHT_BITS, ACTIVATION_BITS = 23, 20
BLOCK_PIXELS = 2048
"""Rows are taken in blocks of about this many pixels, which bounds the memory of gathered neighbours."""


def to_grid(values: Tensor, bits: int = ACTIVATION_BITS) -> Tensor:
    """Values, float64, rounded to multiples of ``2**-bits``."""
    return (values.double() * 2.0**bits).round_().mul_(2.0**-bits)


def compact(values: Tensor) -> Tensor:
    """Activations ``[B, H, W, channels]`` on the grid, in half the memory where none is very large."""
    low, high = torch.aminmax(values)
    if not -(2.0**31) <= float(low) * 2.0**ACTIVATION_BITS <= float(high) * 2.0**ACTIVATION_BITS < 2.0**31:
        return values
    multiples = torch.empty(values.shape, dtype=torch.int32, device=values.device)
    for row in range(values.shape[1]):  # one by one, so that no second map of the full width exists
        multiples[:, row] = values[:, row] * 2.0**ACTIVATION_BITS
    return multiples


def expand(values: Tensor) -> Tensor:
    """Activations, float64, from what `compact` made of them."""
    return values.double().mul_(2.0**-ACTIVATION_BITS) if values.dtype is torch.int32 else values


@dataclass(frozen=True)
class _Phase:
    """What makes one of the ``stride**2`` interleaved parts of a layer's output.

    Attributes:
        rows: for each input row offset its column offsets and a matrix ``[offsets * inputs, outputs]``.
    """

    row: int
    column: int
    rows: tuple[tuple[int, tuple[int, ...], Tensor], ...]


@dataclass(frozen=True)
class _Layer:
    stride: int
    outputs: int
    phases: tuple[_Phase, ...]
    bias: Tensor
    rectify: bool


class FixedPointStack:
    """A chain of convolutions and rectifiers in exact arithmetic.

    Args:
        modules: convolutions of stride 1, transposed convolutions that multiply sizes by their stride, and ReLUs.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._layers: list[_Layer] = []
        for module, following in itertools.zip_longest(modules, modules[1:]):
            if not isinstance(module, nn.ReLU):
                self._layers.append(_layer(module, isinstance(following, nn.ReLU)))

    def __call__(self, x: Tensor, top: int = 0, bottom: int | None = None) -> Tensor:
        """Float64 ``[B, H, W, inputs]`` on the grid to float64 ``[B, H * stride, W * stride, outputs]`` on the grid.

        Args:
            x: the input.
            top: of a single layer, what comes of the input's rows from here on.
            bottom: where those end; by default with the input.
        """
        for layer in self._layers:
            x = _run(layer, x, top, x.shape[1] if bottom is None else bottom)
        return x


def _layer(module: nn.Module, rectify: bool) -> _Layer:
    assert isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.bias is not None
    weight = module.weight.detach()
    if isinstance(module, CheckerboardConv2d):
        weight = weight * module.mask
    weight = to_grid(weight, WEIGHT_BITS)
    kernel, padding, stride = module.kernel_size[0], int(module.padding[0]), 1
    if isinstance(module, nn.ConvTranspose2d):
        stride = module.stride[0]
        taps = {
            (a, b): [
                ((a + padding - i) // stride, (b + padding - j) // stride, weight[:, :, i, j])
                for i in range(kernel)
                for j in range(kernel)
                if (a + padding - i) % stride == 0 and (b + padding - j) % stride == 0
            ]
            for a in range(stride)
            for b in range(stride)
        }
    else:
        offsets = range(kernel)
        taps = {(0, 0): [(i - padding, j - padding, weight[:, :, i, j].t()) for i in offsets for j in offsets]}
    phases = tuple(_Phase(a, b, tuple(_rows(of_phase))) for (a, b), of_phase in taps.items())
    return _Layer(stride, module.out_channels, phases, to_grid(module.bias.detach()), rectify)


def _rows(taps: list[tuple[int, int, Tensor]]) -> Iterator[tuple[int, tuple[int, ...], Tensor]]:
    """Taps joined by their row; those that are zero throughout, as half of a checkerboard's, are left out."""
    for row in sorted({tap[0] for tap in taps}):
        of_row = sorted(((c, w) for r, c, w in taps if r == row and bool(w.any())), key=lambda tap: tap[0])
        if of_row:
            yield row, tuple(c for c, _ in of_row), _compact(torch.cat([w for _, w in of_row]))


def _compact(matrix: Tensor) -> Tensor:
    """As float32 where that holds every weight, which it does below 2: half the memory, and the same values in use."""
    half = matrix.float()
    return half if torch.equal(half.double(), matrix) else matrix


def _run(layer: _Layer, x: Tensor, top: int, bottom: int) -> Tensor:
    batch, height, width, _ = x.shape
    stride = layer.stride
    reach = max((abs(o) for p in layer.phases for r, cs, _ in p.rows for o in (r, *cs)), default=0)
    block = max(1, BLOCK_PIXELS // width)
    if stride == 1 and reach == 0 and bottom - top <= block:
        return _correlate(x[:, top:bottom], layer.phases[0], layer, 0, bottom - top, width)
    out = x.new_empty(batch, (bottom - top) * stride, width * stride, layer.outputs)
    for start in range(top, bottom, block):
        end = min(start + block, bottom)
        above, below = max(0, start - reach), min(height, end + reach)
        missing = above - start + reach, end + reach - below
        rows = functional.pad(x[:, above:below], (0, 0, reach, reach, *missing)) if reach else x[:, start:end]
        first, last = (start - top) * stride, (end - top) * stride
        for phase in layer.phases:
            values = _correlate(rows, phase, layer, reach, end - start, width)
            out[:, first + phase.row : last : stride, phase.column :: stride] = values
    return out


def _correlate(rows: Tensor, phase: _Phase, layer: _Layer, reach: int, height: int, width: int) -> Tensor:
    """One phase of a block of rows, which come with ``reach`` rows and columns of neighbours at each side."""
    batch = rows.shape[0]
    total = layer.bias.expand(batch * height * width, -1).clone()
    gathered: dict[tuple[int, ...], Tensor] = {}
    for row, columns, matrix in phase.rows:
        if columns not in gathered:
            parts = [rows[:, :, reach + c : reach + c + width] for c in columns]
            gathered[columns] = parts[0] if len(parts) == 1 else torch.cat(parts, 3)
        inputs = gathered[columns][:, reach + row : reach + row + height]
        total.addmm_(inputs.reshape(-1, matrix.shape[0]), matrix.double())
    if layer.rectify:
        total.clamp_(min=0)
    total.mul_(2.0**ACTIVATION_BITS).round_().mul_(2.0**-ACTIVATION_BITS)
    return total.view(batch, height, width, -1)
