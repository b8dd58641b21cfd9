"""Exact convolutions are convolutions, and give the same bits however the additions are ordered."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lamofcbench.codecs.learned.fixed_point import FixedPointStack, to_grid
from lamofcbench.codecs.learned.layers import CheckerboardConv2d, conv, deconv

STACKS = {
    "hyper-synthesis": lambda: [deconv(4, 4), nn.ReLU(), deconv(4, 6), nn.ReLU(), conv(6, 5, kernel=3, stride=1)],
    "deconvolution of stride 1": lambda: [deconv(4, 3, kernel=3, stride=1)],
    "channel context": lambda: [conv(4, 8, stride=1), nn.ReLU(), conv(8, 2, stride=1)],
    "checkerboard": lambda: [CheckerboardConv2d(4, 6)],
    "pointwise": lambda: [nn.Conv2d(4, 9, 1), nn.ReLU(), nn.Conv2d(9, 3, 1)],
}


@pytest.fixture(params=STACKS)
def layers(request):
    torch.manual_seed(0)
    return STACKS[request.param]()


def inputs(batch=2, height=5, width=7):
    return to_grid(torch.randn(batch, height, width, 4, generator=torch.Generator().manual_seed(1)) * 3)


@torch.no_grad()
def test_equals_the_float_layers(layers):
    x = inputs()
    expected = nn.Sequential(*layers).double()(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    nn.Sequential(*layers).float()
    assert (FixedPointStack(layers)(x) - expected).abs().max() < 2e-5


@torch.no_grad()
def test_channel_order_and_blocks_change_no_bit(layers, monkeypatch):
    x = inputs()
    expected = FixedPointStack(layers)(x)
    order = torch.tensor([2, 0, 3, 1])
    permuted = [type_of_copy(layers[0], order), *layers[1:]]
    assert torch.equal(FixedPointStack(permuted)(x[..., order]), expected)
    assert torch.equal(torch.cat([FixedPointStack(layers)(item[None]) for item in x]), expected)
    monkeypatch.setattr("lamofcbench.codecs.learned.fixed_point.BLOCK_PIXELS", 14)
    assert torch.equal(FixedPointStack(layers)(x), expected)


def type_of_copy(layer, order):
    """The layer for permuted input channels."""
    import copy

    copied = copy.deepcopy(layer)
    copied.weight.data = layer.weight[order] if isinstance(layer, nn.ConvTranspose2d) else layer.weight[:, order]
    if isinstance(layer, CheckerboardConv2d):
        copied.mask = layer.mask[:, order]
    return copied


@torch.no_grad()
def test_results_lie_on_the_grid(layers):
    values = FixedPointStack(layers)(inputs()) * 2.0**20
    assert torch.equal(values, values.round())
