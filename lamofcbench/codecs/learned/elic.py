"""ELIC: uneven channel groups, each coded in two checkerboard passes under space, channel and hyper context.

Source: He et al., arXiv 2203.10886, with one input and output channel; parameter names as in published checkpoints.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lamofcbench.codecs.learned.entropy_models import EntropyBottleneck, GaussianConditional
from lamofcbench.codecs.learned.layers import (
    Attention,
    CheckerboardConv2d,
    ResidualBottleneck,
    conv,
    deconv,
    scale_parameters,
    straight_through_round,
    undo_gain,
)
from lamofcbench.codecs.learned.network import LearnedNetwork, NetworkOutput, scale_hyper_analysis

PUBLISHED_WIDTH = 192
PUBLISHED_CONTEXT_WIDTHS = (224, 128)
SMALLEST_PUBLISHED_LATENT_WIDTH = 192


def default_groups(M: int) -> tuple[int, ...]:
    """The channel groups of a latent width: the paper's from M = 192 on, in proportion to those of M = 320 below.

    Example:
        >>> default_groups(320), default_groups(40)
        ((16, 16, 32, 64, 192), (2, 2, 4, 8, 24))
    """
    unit = 16 if M >= SMALLEST_PUBLISHED_LATENT_WIDTH else max(1, M // 20)
    groups = (unit, unit, 2 * unit, 4 * unit, M - 8 * unit)
    if groups[-1] < 1:
        raise ValueError(f"{M} latent channels are too few for five groups; take at least 9")
    return groups


def default_context_widths(N: int) -> tuple[int, int]:
    """The hidden widths of the channel context: the published ones at N = 192, in proportion to N below.

    They follow N and not M, because a small network still needs many latent channels for a high rate, and contexts that
    grew with those would be most of its parameters.

    Example:
        >>> default_context_widths(192), default_context_widths(32)
        ((224, 128), (37, 21))
    """
    first, second = (max(8, width * min(N, PUBLISHED_WIDTH) // PUBLISHED_WIDTH) for width in PUBLISHED_CONTEXT_WIDTHS)
    return first, second


class _Hyper(nn.Module):
    def __init__(self, N: int, M: int) -> None:
        super().__init__()
        self.entropy_bottleneck = EntropyBottleneck(N)
        self.h_a = nn.Sequential(
            conv(M, N, kernel=3, stride=1), nn.ReLU(inplace=True), conv(N, N), nn.ReLU(inplace=True), conv(N, N)
        )
        wide = N * 3 // 2
        self.h_s = nn.Sequential(
            deconv(N, N),
            nn.ReLU(inplace=True),
            deconv(N, wide),
            nn.ReLU(inplace=True),
            deconv(wide, N * 2, kernel=3, stride=1),
        )


class _Gaussian(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gaussian_conditional = GaussianConditional()


class LatentGroup(nn.Module):
    """One channel group: the context from its anchors, and the parameters from all contexts."""

    def __init__(self, width: int, hyper_width: int, has_channel_context: bool) -> None:
        super().__init__()
        self.context_prediction = CheckerboardConv2d(width, 2 * width)
        inputs = 2 * width * (2 if has_channel_context else 1) + hyper_width
        self.entropy_parameters = _pointwise_ramp(inputs, 2 * width, at_least=hyper_width)
        self.y = _Gaussian()


class LatentGroups(nn.Module):
    """All channel groups."""

    def __init__(self, groups: Sequence[int], hyper_width: int, context_widths: tuple[int, int]) -> None:
        super().__init__()
        first, second = context_widths
        self.channel_context = nn.ModuleDict(
            {
                f"y{k}": nn.Sequential(
                    conv(sum(groups[:k]), first, stride=1),
                    nn.ReLU(inplace=True),
                    conv(first, second, stride=1),
                    nn.ReLU(inplace=True),
                    conv(second, 2 * groups[k], stride=1),
                )
                for k in range(1, len(groups))
            }
        )
        self.latent_codec = nn.ModuleDict({f"y{k}": LatentGroup(g, hyper_width, k > 0) for k, g in enumerate(groups)})

    def group(self, number: int) -> LatentGroup:
        """One channel group."""
        group = self.latent_codec[f"y{number}"]
        assert isinstance(group, LatentGroup)
        return group

    def context(self, number: int) -> nn.Sequential:
        """The context that a group after the first has from the groups before it."""
        context = self.channel_context[f"y{number}"]
        assert isinstance(context, nn.Sequential)
        return context


class _Latents(nn.Module):
    def __init__(self, N: int, M: int, groups: Sequence[int], context_widths: tuple[int, int]) -> None:
        super().__init__()
        self.y = LatentGroups(groups, 2 * N, context_widths)
        self.hyper = _Hyper(N, M)


class Elic(LearnedNetwork):
    """The network.

    Args:
        N: width of the transforms and of the hyper-latents.
        M: width of the latents.
        groups: how many latent channels each group has; by default `default_groups`.
        context_widths: hidden widths of the channel context; by default `default_context_widths`.
    """

    def __init__(
        self,
        N: int = 192,  # the papers' names
        M: int = 320,
        groups: Sequence[int] | None = None,
        context_widths: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.groups = tuple(groups or default_groups(M))
        if sum(self.groups) != M:
            raise ValueError(f"channel groups {list(self.groups)} do not sum to {M}")
        self.g_a = nn.Sequential(
            conv(1, N),
            *_blocks(N),
            conv(N, N),
            *_blocks(N),
            Attention(N),
            conv(N, N),
            *_blocks(N),
            conv(N, M),
            Attention(M),
        )
        self.g_s = nn.Sequential(
            Attention(M),
            deconv(M, N),
            *_blocks(N),
            deconv(N, N),
            Attention(N),
            *_blocks(N),
            deconv(N, N),
            *_blocks(N),
            deconv(N, 1),
        )
        self.latent_codec = _Latents(N, M, self.groups, context_widths or default_context_widths(N))

    @classmethod
    def for_state(cls, state: Mapping[str, Tensor]) -> Elic:
        """A network of the state dict's widths, groups and context widths."""
        widths = state["g_a.0.weight"].shape[0], state["g_a.13.weight"].shape[0]
        groups: list[int] = []
        while (name := f"latent_codec.y.latent_codec.y{len(groups)}.context_prediction.weight") in state:
            groups.append(state[name].shape[1])
        context = [state[f"latent_codec.y.channel_context.y1.{layer}.weight"].shape[0] for layer in (0, 2)]
        return cls(*widths, groups, (context[0], context[1]))

    def forward(self, planes: Tensor) -> NetworkOutput:
        """See `LearnedNetwork.forward`; likelihoods are of noisy latents, contexts and synthesis see rounded ones."""
        y = self.g_a(planes)
        hyper = self.latent_codec.hyper
        z = hyper.h_a(y)
        _, z_likelihoods = hyper.entropy_bottleneck(z)
        medians = hyper.entropy_bottleneck.medians.detach()[:, None, None]
        side = hyper.h_s(straight_through_round(z - medians) + medians)
        decoded: list[Tensor] = []
        likelihoods: list[Tensor] = []
        anchors = checkerboard(y.shape[2], y.shape[3], y.device)
        for k, latents in enumerate(y.split(self.groups, dim=1)):
            context = self.latent_codec.y.context(k)(torch.cat(decoded, 1)) if k else None
            shared = side if context is None else torch.cat([context, side], 1)
            y_hat, likelihood = _code_group(self.latent_codec.y.group(k), latents, shared, anchors)
            decoded.append(y_hat)
            likelihoods.append(likelihood)
        y_hat = torch.cat(decoded, 1)
        return NetworkOutput(self.g_s(y_hat), {"y": torch.cat(likelihoods, 1), "z": z_likelihoods})

    def scale_latents(self, gain: float) -> None:
        """See `LearnedNetwork.scale_latents`."""
        analysis, synthesis = self.g_a[-1], self.g_s[0]
        assert isinstance(analysis, Attention) and isinstance(synthesis, Attention)
        scale_parameters(self.g_a[-2], gain)
        analysis.scale(gain)
        synthesis.scale(gain)
        undo_gain(self.g_s[1], gain)
        scale_hyper_analysis(self.latent_codec.hyper.h_a, gain)
        for number, width in enumerate(self.groups):
            group = self.latent_codec.y.group(number)
            scale_parameters(group.context_prediction, gain, biases_only=True)
            if number:
                scale_parameters(self.latent_codec.y.context(number), gain, biases_only=True)
            undo_gain(group.entropy_parameters[0], gain, channels=4 * width if number else 2 * width)
            scale_parameters(group.entropy_parameters[-1], gain)


def checkerboard(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Bool ``[height, width]``: True at the anchors, which are decoded first."""
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    return (rows[:, None] + columns) % 2 == 0


def _code_group(group: LatentGroup, latents: Tensor, shared: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Decoded latents of a group and their likelihoods, anchors first, then the rest given the anchors."""
    batch, width, height, columns = latents.shape
    nothing = latents.new_zeros(batch, 2 * width, height, columns)
    parameters = group.entropy_parameters(torch.cat([nothing, shared], 1))
    means = parameters[:, width:]
    seen = (straight_through_round(latents - means) + means) * anchors
    given_anchors = group.entropy_parameters(torch.cat([group.context_prediction(seen), shared], 1))
    scales, means = torch.where(anchors, parameters, given_anchors).chunk(2, 1)
    _, likelihoods = group.y.gaussian_conditional(latents, scales, means)
    return straight_through_round(latents - means) + means, likelihoods


def _blocks(channels: int) -> Sequence[nn.Module]:
    return [ResidualBottleneck(channels) for _ in range(3)]


def _pointwise_ramp(inputs: int, outputs: int, at_least: int) -> nn.Sequential:
    """Three pointwise layers whose widths go in even steps from inputs to outputs, hidden ones not below a width."""
    steps = torch.linspace(inputs, outputs, 4, device="cpu").floor().int().tolist()
    widths = [inputs, *(max(width, at_least) for width in steps[1:-1]), outputs]
    layers: list[nn.Module] = []
    for narrow, wide in itertools.pairwise(widths):
        layers += [nn.Conv2d(narrow, wide, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])
