"""Scaled latents are the same function with another step of the quantiser."""

import pytest
import torch

from lamofcbench.codecs.learned.elic import Elic
from lamofcbench.codecs.learned.hyperprior import ScaleHyperprior

GAIN = 0.5
KINDS = (ScaleHyperprior, Elic)


def network_of(kind):
    torch.manual_seed(3)
    network = kind(8, 20).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.1, 0.5)  # a bias of zero would hide that it must be scaled
    return network


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def pair(request):
    """A network before and after, and planes."""
    before, after = network_of(request.param), network_of(request.param)
    after.scale_latents(GAIN)
    return before, after, torch.rand(2, 1, 64, 128, generator=torch.Generator().manual_seed(1))


def close(first, second):
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_transforms_take_the_gain_and_undo_it(pair):
    before, after, planes = pair
    y = before.g_a(planes)
    assert not torch.allclose(y, GAIN * y)
    close(after.g_a(planes), GAIN * y)
    close(after.g_s(GAIN * y), before.g_s(y))


@torch.no_grad()
def test_hyper_latents_stay_and_the_entropy_model_follows(pair):
    before, after, planes = pair
    y = before.g_a(planes)
    z, z_after = hyper_latents(before, y), hyper_latents(after, GAIN * y)
    close(z_after, z)
    for group in range(group_count(before)):
        close(parameters(after, group, GAIN * y, z), GAIN * parameters(before, group, y, z))


@torch.no_grad()
def test_large_kernels_stay_as_they_are_so_that_networks_can_share_them(pair):
    before, after = (network.state_dict() for network in pair[:2])
    kernels = [name for name, value in before.items() if value.dim() == 4]
    moved = sum(before[name].numel() for name in kernels if not torch.equal(before[name], after[name]))
    assert 0 < moved < 0.5 * sum(before[name].numel() for name in kernels)


def hyper_latents(network, y):
    return network.h_a(y.abs()) if isinstance(network, ScaleHyperprior) else network.latent_codec.hyper.h_a(y)


def group_count(network):
    return 1 if isinstance(network, ScaleHyperprior) else len(network.groups)


def parameters(network, number, y, z):
    """Scales, and means where there are any; of ELIC those of the second checkerboard pass, which sees all contexts."""
    if isinstance(network, ScaleHyperprior):
        return network.h_s(z)
    groups = y.split(network.groups, dim=1)
    group = network.latent_codec.y.group(number)
    contexts = [group.context_prediction(groups[number])]
    if number:
        contexts.append(network.latent_codec.y.context(number)(torch.cat(groups[:number], 1)))
    return group.entropy_parameters(torch.cat([*contexts, network.latent_codec.hyper.h_s(z)], 1))
