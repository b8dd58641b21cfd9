"""Small networks whose latents vary, for tests that need no trained ones."""

from __future__ import annotations

import torch

from lamofcbench.codecs.learned.elic import Elic
from lamofcbench.codecs.learned.hyperprior import ScaleHyperprior
from lamofcbench.codecs.learned.network import LearnedNetwork
from lamofcbench.codecs.learned.networks import NETWORKS

WIDTHS = {"hyperprior": (16, 24), "elic": (16, 24)}


def small_network(name: str, seed: int = 0) -> LearnedNetwork:
    """A network of random weights, large enough for latents and scales to spread, with its tables."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = NETWORKS[name](*WIDTHS[name])
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 4:
                parameter.mul_(1.7)
    _fit_scales(network.eval())
    network.update_tables()
    return network


@torch.no_grad()
def _fit_scales(network: LearnedNetwork) -> None:
    """Puts the last biases of the entropy model where its scales fit the latents, as training would."""
    spread = network.g_a(planes(1, 128, 128)).abs().mean((0, 2, 3))
    if isinstance(network, ScaleHyperprior):
        network.h_s[4].bias += spread
        return
    assert isinstance(network, Elic)
    for number, widths in enumerate(spread.split(network.groups)):
        network.latent_codec.y.group(number).entropy_parameters[-1].bias[: len(widths)] += 1.5 * widths


def planes(batch: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Noise around slopes, in [0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(batch, 1, height, width, generator=generator)
    return 0.3 * noise + 0.35 * torch.linspace(0, 1, width) + 0.34 * torch.linspace(0, 1, height)[:, None]
