"""Tiles give what one piece gives."""

from __future__ import annotations

import pytest
import torch
from networks_for_tests import planes, small_network

from lamofcbench.codecs.learned import tiling
from lamofcbench.codecs.learned.layers import deconv, deconv_to_one_channel
from lamofcbench.codecs.learned.networks import NETWORKS
from lamofcbench.codecs.learned.tiling import run_tiled, stages_of


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_tiled_transforms_equal_whole_ones(name):
    network = small_network(name)
    x = planes(1, 192, 320)
    y = network.g_a(x)
    tiled = run_tiled(stages_of(network.g_a), x, tile=32)
    assert (tiled - y).abs().max() < 1e-4 * y.abs().max()
    expected = network.g_s(y.round())
    tiled = run_tiled(stages_of(network.g_s), y.round(), tile=32)
    assert (tiled - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_only_some_rows_of_the_maps_between_stages_exist(name, monkeypatch):
    network = small_network(name)
    x = planes(1, 1024, 192)
    most = {}
    take = tiling._StageRows.take

    def watched(self, top, bottom):
        rows = take(self, top, bottom)
        most[self._stage] = max(most.get(self._stage, 0), self._rows.shape[2] / self.height)
        return rows

    monkeypatch.setattr(tiling._StageRows, "take", watched)
    y = network.g_a(x).round()
    for transform, given in ((network.g_a, x), (network.g_s, y)):
        *between, last = stages_of(transform)
        run_tiled([*between, last], given, tile=16)
        assert most[last] == 1
        assert all(most[stage] < 0.5 for stage in between)


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (5, 8)])
def test_a_deconvolution_to_one_channel_may_add_up_pointwise_results(size):
    layer = deconv(6, 1).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(deconv_to_one_channel(layer, x), layer(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_margins_reach_as_far_as_the_layers_look(name):
    network = small_network(name).double()
    for transform in (network.g_a, network.g_s):
        for stage in stages_of(transform):
            channels = next(width for width in (1, 16, 24) if accepts(stage, width))
            x = torch.rand(1, channels, 96, 96, dtype=torch.float64, requires_grad=True)
            out = stage.layers(x)
            out[0, :, int(48 * stage.scale), int(48 * stage.scale)].sum().backward()
            reached = x.grad.abs().sum((0, 1)).nonzero()
            assert reached.min() >= 48 - stage.margin
            assert reached.max() <= 48 + stage.margin


def accepts(stage, channels):
    try:
        stage.layers(torch.zeros(1, channels, 8, 8, dtype=torch.float64))
    except RuntimeError:
        return False
    return True
