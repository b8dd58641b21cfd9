"""A network at another rate is the same function with another step of the quantiser."""

import pytest
import torch
from torch import nn

from harness.training.rate_change import change_rate
from lamofcbench.codecs.learned.elic import Elic
from lamofcbench.codecs.learned.hyperprior import ScaleHyperprior

GAIN = 0.5  # the square root of 0.005 / 0.02


def network_of(kind):
    torch.manual_seed(3)
    network = kind(8, 20).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.1, 0.5)  # a bias of zero would hide that it must be scaled
    return network


def pair_of(kind):
    before, after = network_of(kind), network_of(kind)
    change_rate(after, 0.02, 0.005)
    return before, after


@pytest.fixture
def planes():
    return torch.rand(2, 1, 64, 128, generator=torch.Generator().manual_seed(1))


def close(first, second):
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_latents_of_a_hyperprior_are_scaled_and_all_else_stays(planes):
    before, after = pair_of(ScaleHyperprior)
    y = before.g_a(planes)
    close(after.g_a(planes), GAIN * y)
    close(after.g_s(GAIN * y), before.g_s(y))
    z = before.h_a(y.abs())
    close(after.h_a(GAIN * y.abs()), z)
    close(after.h_s(z), GAIN * before.h_s(z))


@torch.no_grad()
def test_the_latents_of_elic_are_scaled_and_all_else_stays(planes):
    before, after = pair_of(Elic)
    y = before.g_a(planes)
    close(after.g_a(planes), GAIN * y)
    close(after.g_s(GAIN * y), before.g_s(y))
    hyper, after_hyper = before.latent_codec.hyper, after.latent_codec.hyper
    z = hyper.h_a(y)
    close(after_hyper.h_a(GAIN * y), z)
    side = hyper.h_s(z)
    close(after_hyper.h_s(z), side)
    decoded = y[:, :0]
    for number, latents in enumerate(y.split(before.groups, dim=1)):
        close(parameters(after, number, GAIN * latents, GAIN * decoded, side),
              GAIN * parameters(before, number, latents, decoded, side))  # fmt: skip
        decoded = torch.cat([decoded, latents], 1)


def parameters(network, number, latents, decoded, side):
    """Scales and means of a group's second checkerboard pass, of which the first is a special case."""
    group = network.latent_codec.y.group(number)
    contexts = [group.context_prediction(latents)]
    if number:
        contexts.append(network.latent_codec.y.context(number)(decoded))
    return group.entropy_parameters(torch.cat([*contexts, side], 1))


@pytest.mark.parametrize("kind", [ScaleHyperprior, Elic])
def test_large_kernels_stay_as_they_are_so_that_rate_points_can_share_them(kind):
    before, after = (network.state_dict() for network in pair_of(kind))
    kernels = [name for name, value in before.items() if value.dim() == 4]
    moved = sum(before[name].numel() for name in kernels if not torch.equal(before[name], after[name]))
    assert 0 < moved < 0.5 * sum(before[name].numel() for name in kernels)


def test_another_network_is_refused():
    with pytest.raises(TypeError, match="Linear"):
        change_rate(nn.Linear(1, 1), 0.02, 0.01)
