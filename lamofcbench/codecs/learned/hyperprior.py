"""The scale hyperprior: a Gaussian of mean 0 for each latent, whose scale travels as side information.

Source: Balle et al., arXiv 1802.01436, with one input and output channel; parameter names as in published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lamofcbench.codecs.learned.entropy_models import EntropyBottleneck, GaussianConditional
from lamofcbench.codecs.learned.layers import GDN, conv, deconv, scale_parameters, undo_gain
from lamofcbench.codecs.learned.network import LearnedNetwork, NetworkOutput, scale_hyper_analysis


class ScaleHyperprior(LearnedNetwork):
    """The network.

    Args:
        N: width of the transforms and of the hyper-latents.
        M: width of the latents.
    """

    def __init__(self, N: int = 128, M: int = 192) -> None:  # the papers' names
        super().__init__()
        self.g_a = nn.Sequential(conv(1, N), GDN(N), conv(N, N), GDN(N), conv(N, N), GDN(N), conv(N, M))
        self.g_s = nn.Sequential(
            deconv(M, N),
            GDN(N, inverse=True),
            deconv(N, N),
            GDN(N, inverse=True),
            deconv(N, N),
            GDN(N, inverse=True),
            deconv(N, 1),
        )
        self.h_a = nn.Sequential(
            conv(M, N, kernel=3, stride=1), nn.ReLU(inplace=True), conv(N, N), nn.ReLU(inplace=True), conv(N, N)
        )
        self.h_s = nn.Sequential(
            deconv(N, N),
            nn.ReLU(inplace=True),
            deconv(N, N),
            nn.ReLU(inplace=True),
            conv(N, M, kernel=3, stride=1),
            nn.ReLU(inplace=True),
        )
        self.entropy_bottleneck = EntropyBottleneck(N)
        self.gaussian_conditional = GaussianConditional()

    @classmethod
    def for_state(cls, state: Mapping[str, Tensor]) -> ScaleHyperprior:
        """A network of the state dict's widths."""
        return cls(state["g_a.0.weight"].shape[0], state["g_a.6.weight"].shape[0])

    def forward(self, planes: Tensor) -> NetworkOutput:
        """See `LearnedNetwork.forward`; training replaces rounding by uniform noise."""
        y = self.g_a(planes)
        z, z_likelihoods = self.entropy_bottleneck(self.h_a(torch.abs(y)))
        y, y_likelihoods = self.gaussian_conditional(y, self.h_s(z))
        return NetworkOutput(self.g_s(y), {"y": y_likelihoods, "z": z_likelihoods})

    def scale_latents(self, gain: float) -> None:
        """See `LearnedNetwork.scale_latents`."""
        scale_parameters(self.g_a[-1], gain)
        undo_gain(self.g_s[0], gain)
        scale_hyper_analysis(self.h_a, gain)
        scale_parameters(self.h_s[-2], gain)  # before the last ReLU
