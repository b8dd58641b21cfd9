"""The adapter before DINOv3's published segmentation head: block outputs and the image become maps at four scales.

It is the half of a ViT-Adapter (arXiv 2205.08534) that reads the backbone and never writes to it: a convolutional stem
looks at the image, and its tokens gather what they need from each level by deformable attention. Modules are named as
under ``segmentation_model.0.`` in ``dinov3_vit7b16_ade20k_m2f_head-bf307cb1.pth``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamofcbench.models.vision_heads.deformable_attention import DeformableAttention, Size, centres

LEVELS = 4
POINTS = 4
COARSEST = 32
"""Pixels a token of the coarsest map; an image's sides must be multiples of it."""


@dataclass(frozen=True)
class AdapterSizes:
    """The adapter's sizes; the defaults are the published ones.

    Attributes:
        width: C, of the backbone.
        stem: channels of the stem; its later stages have 2, 4 and 4 times as many.
        heads: of the deformable attention, which looks at 4 points each.
        value_width: of its values.
        network: channels inside the feed-forward networks.
        extra: extractors after the last level's.
    """

    width: int = 4096
    stem: int = 64
    heads: int = 16
    value_width: int = 2048
    network: int = 1024
    extra: int = 2


class Adapter(nn.Module):
    """Four maps of C channels, at 1/4, 1/8, 1/16 and 1/32 of the image's resolution."""

    def __init__(self, sizes: AdapterSizes) -> None:
        super().__init__()
        width = sizes.width
        self.level_embed = nn.Parameter(torch.zeros(3, width))
        self.spm = SpatialPrior(width, sizes.stem)
        self.interactions = nn.ModuleList(
            Interaction(sizes, extra=sizes.extra if level == LEVELS - 1 else 0) for level in range(LEVELS)
        )
        self.up = nn.ConvTranspose2d(width, width, 2, 2)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.BatchNorm2d(width) for _ in range(LEVELS))

    def forward(self, pixels: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps, fine to coarse, ``[N, C, h, w]`` each.

        Args:
            pixels: the image, normalised, ``[N, 3, H, W]``, both sides multiples of 32.
            maps: the four levels' patches, shallow to deep, normalised, ``[N, C, H / 16, W / 16]`` each.
        """
        fine, *coarser = self.spm(pixels)
        sizes: list[Size] = [(level.shape[2], level.shape[3]) for level in coarser]
        tokens = torch.cat(
            [_tokens(level) + embedding for level, embedding in zip(coarser, self.level_embed, strict=True)], dim=1
        )
        places = centres(sizes, tokens.device, tokens.dtype)
        for interaction, level in zip(self.interactions, maps, strict=True):
            tokens = interaction(tokens, places, sizes, level)
        parts = tokens.split([height * width for height, width in sizes], dim=1)
        pyramid = [_map(part, size) for part, size in zip(parts, sizes, strict=True)]
        pyramid = [self.up(pyramid[0]) + fine, *pyramid]
        norms = (self.norm1, self.norm2, self.norm3, self.norm4)
        return [norm(own + _resized(level, own)) for norm, own, level in zip(norms, pyramid, maps, strict=True)]


class SpatialPrior(nn.Module):
    """The stem: maps of an image at 1/4, 1/8, 1/16 and 1/32 of its resolution, ``[N, C, h, w]`` each.

    Args:
        width: C.
        channels: of the first stage.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_stage(3, channels, stride=2),
            *_stage(channels, channels, stride=1),
            *_stage(channels, channels, stride=1),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.conv2 = nn.Sequential(*_stage(channels, 2 * channels, stride=2))
        self.conv3 = nn.Sequential(*_stage(2 * channels, 4 * channels, stride=2))
        self.conv4 = nn.Sequential(*_stage(4 * channels, 4 * channels, stride=2))
        self.fc1, self.fc2, self.fc3, self.fc4 = (nn.Conv2d(part * channels, width, 1) for part in (1, 2, 4, 4))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """See the class."""
        quarter = self.stem(pixels)
        eighth = self.conv2(quarter)
        sixteenth = self.conv3(eighth)
        return [self.fc1(quarter), self.fc2(eighth), self.fc3(sixteenth), self.fc4(self.conv4(sixteenth))]


class Interaction(nn.Module):
    """What the stem's tokens gather from one level, once and then ``extra`` times more."""

    def __init__(self, sizes: AdapterSizes, *, extra: int) -> None:
        super().__init__()
        self.extractor = Extractor(sizes)
        self.extra_extractors = nn.ModuleList(Extractor(sizes) for _ in range(extra))

    def forward(self, tokens: Tensor, places: Tensor, sizes: Sequence[Size], level: Tensor) -> Tensor:
        """The tokens afterwards; see `Extractor`."""
        for extractor in (self.extractor, *self.extra_extractors):
            tokens = extractor(tokens, places, sizes, level)
        return tokens


class Extractor(nn.Module):
    """Deformable attention of the stem's tokens to a level, and a feed-forward network; each is added."""

    def __init__(self, sizes: AdapterSizes) -> None:
        super().__init__()
        self.query_norm, self.feat_norm, self.ffn_norm = (nn.LayerNorm(sizes.width, eps=1e-6) for _ in range(3))
        self.attn = DeformableAttention(sizes.width, sizes.heads, 1, POINTS, sizes.value_width)
        self.ffn = ConvolutionalNetwork(sizes.width, sizes.network)

    def forward(self, tokens: Tensor, places: Tensor, sizes: Sequence[Size], level: Tensor) -> Tensor:
        """The tokens afterwards, ``[N, Q, C]``.

        Args:
            tokens: of the maps at 1/8, 1/16 and 1/32, ``[N, Q, C]``.
            places: theirs, ``[Q, 2]``.
            sizes: of those three maps.
            level: what they look at, ``[N, C, h, w]``.
        """
        found = self.attn(
            self.query_norm(tokens), places, self.feat_norm(_tokens(level)), [(level.shape[2], level.shape[3])]
        )
        tokens = tokens + found
        return tokens + self.ffn(self.ffn_norm(tokens), sizes)


class ConvolutionalNetwork(nn.Module):
    """Two linear layers with a depthwise 3x3 convolution over each of the maps, and a GELU, between them.

    Args:
        width: of the tokens.
        inner: channels between the layers.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.dwconv = DepthwiseConvolution(inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, tokens: Tensor, sizes: Sequence[Size]) -> Tensor:
        """``[N, Q, width]`` of tokens ``[N, Q, width]`` of maps of these sizes."""
        return self.fc2(functional.gelu(self.dwconv(self.fc1(tokens), sizes)))


class DepthwiseConvolution(nn.Module):
    """A depthwise 3x3 convolution, over each map of the tokens apart."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, tokens: Tensor, sizes: Sequence[Size]) -> Tensor:
        """``[N, Q, channels]`` both ways."""
        parts = tokens.split([height * width for height, width in sizes], dim=1)
        return torch.cat(
            [_tokens(self.dwconv(_map(part, size))) for part, size in zip(parts, sizes, strict=True)], dim=1
        )


def _stage(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _tokens(level: Tensor) -> Tensor:
    """``[N, h w, C]`` of a map ``[N, C, h, w]``."""
    return level.flatten(2).transpose(1, 2)


def _map(tokens: Tensor, size: Size) -> Tensor:
    """``[N, C, h, w]`` of tokens ``[N, h w, C]``."""
    return tokens.transpose(1, 2).unflatten(2, size)


def _resized(level: Tensor, like: Tensor) -> Tensor:
    """A level's map at the size of another; not smoothed where it shrinks."""
    if level.shape[2:] == like.shape[2:]:
        return level
    return functional.interpolate(level, like.shape[2:], mode="bilinear", align_corners=False)
