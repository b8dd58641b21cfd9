"""Weights come back from storage as well as their format allows."""

import pytest
import torch

from harness.training.storage import FORMATS, compact
from lamofcbench.codecs.learned.checkpoints import from_storage
from lamofcbench.codecs.learned.networks import NETWORKS
from lamofcbench.errors import CodecError

KERNEL = "g_a.0.weight"


def kernel():
    weights = torch.randn(64, 8, 5, 5, generator=torch.Generator().manual_seed(3)) ** 3
    weights[0] = 0
    return weights


def test_an_integer_stands_for_its_square_so_that_small_weights_keep_their_precision():
    weights = kernel()
    stored = compact({KERNEL: weights}, "int8")
    assert stored[KERNEL].dtype is torch.int8
    back = from_storage(stored)
    assert back.keys() == {KERNEL}
    largest = weights.abs().amax((1, 2, 3), keepdim=True)
    root = 127 * (weights.abs() / largest).nan_to_num().sqrt()
    assert ((back[KERNEL] - weights).abs() <= largest * (root + 0.5) / 127**2 + 1e-7).all()
    assert (back[KERNEL] * weights >= 0).all()


@pytest.mark.parametrize("storage", FORMATS)
def test_a_whole_network_comes_back_without_tables(storage):
    torch.manual_seed(0)
    network = NETWORKS["elic"](16, 24)
    stored = compact(network.state_dict(), storage)
    assert not [name for name in stored if name.endswith(("_quantized_cdf", "scale_table", "mask"))]
    again = NETWORKS["elic"].from_state_dict(from_storage(stored)).state_dict()
    for name, weights in network.named_parameters():
        torch.testing.assert_close(again[name], weights, rtol=2e-2, atol=2e-2 * float(weights.detach().abs().max()))


def test_smaller_formats_are_smaller():
    state = NETWORKS["hyperprior"](16, 24).state_dict()
    sizes = [sum(t.numel() * t.element_size() for t in compact(state, storage).values()) for storage in FORMATS]
    assert sizes == sorted(sizes) and sizes[0] < 0.4 * sizes[-1]


def test_integers_without_scales_that_fit_are_refused():
    stored = compact({KERNEL: kernel()}, "int8")
    [suffix] = [name for name in stored if name != KERNEL]
    for scales in ({}, {suffix: stored[suffix][:3]}):
        with pytest.raises(CodecError, match="no scale that fits"):
            from_storage({KERNEL: stored[KERNEL], **scales})
