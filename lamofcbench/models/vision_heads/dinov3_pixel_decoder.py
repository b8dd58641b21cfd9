"""The pixel decoder of DINOv3's published segmentation head: that of Mask2Former (arXiv 2112.01527).

An encoder of deformable attention joins the three coarse maps, and a step of a feature pyramid brings in the fine one.
Modules are named as under ``segmentation_model.1.pixel_decoder.`` in ``dinov3_vit7b16_ade20k_m2f_head-bf307cb1.pth``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamofcbench.models.vision_heads.deformable_attention import DeformableAttention, Size, centres

COARSE = 3
"""Maps that the encoder joins."""
POINTS = 4
GROUPS = 32
TEMPERATURE = 10000.0


class PublishedPixelDecoder(nn.Module):
    """Joins an adapter's four maps.

    Args:
        width: channels of the maps.
        hidden: channels of what it makes of them; a multiple of 32.
        heads: of the encoder's attention.
        layers: of the encoder.
        network: channels inside the encoder's feed-forward networks.
        mask_channels: of the mask features.
    """

    def __init__(self, width: int, hidden: int, heads: int, layers: int, network: int, mask_channels: int) -> None:
        super().__init__()
        self.input_convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, hidden, 1), nn.GroupNorm(GROUPS, hidden)) for _ in range(COARSE)
        )
        self.encoder = LevelEncoder(hidden, heads, layers, network)
        self.lateral_convs = nn.ModuleList([NormedConvolution(width, hidden, 1)])
        self.output_convs = nn.ModuleList([NormedConvolution(hidden, hidden, 3)])
        self.mask_feature = nn.Conv2d(hidden, mask_channels, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """The encoder's maps, coarse to fine, ``[N, hidden, h, w]``, and the mask features at the finest map's size.

        Args:
            maps: fine to coarse, ``[N, width, h, w]`` each.
        """
        fine, *coarse = maps
        joined = self.encoder(
            [convert(level) for convert, level in zip(self.input_convs, reversed(coarse), strict=True)]
        )
        (lateral,), (output,) = self.lateral_convs, self.output_convs
        own = lateral(fine)
        own = own + functional.interpolate(joined[-1], own.shape[2:], mode="bilinear", align_corners=False)
        return joined, self.mask_feature(output(own).relu())


class NormedConvolution(nn.Conv2d):
    """A convolution without bias that keeps the size, and a group norm that is named as a part of it."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__(inputs, outputs, side, padding=side // 2, bias=False)
        self.norm = nn.GroupNorm(GROUPS, outputs)

    def forward(self, values: Tensor) -> Tensor:
        """``[N, outputs, h, w]`` of ``[N, inputs, h, w]``."""
        return self.norm(super().forward(values))


class LevelEncoder(nn.Module):
    """Lets the pixels of several maps look at each other.

    Args:
        hidden: channels of the maps.
        heads: of the attention.
        layers: one after the other.
        network: channels inside the feed-forward networks.
    """

    def __init__(self, hidden: int, heads: int, layers: int, network: int) -> None:
        super().__init__()
        self.level_encoding = nn.Parameter(torch.zeros(COARSE, hidden))
        own = nn.ModuleList(EncoderLayer(hidden, heads, network) for _ in range(layers))
        self.encoder = nn.ModuleDict({"layers": own})  # the file's name for them is ``encoder.layers``

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps afterwards, ``[N, hidden, h, w]`` each, as they came."""
        sizes: list[Size] = [(level.shape[2], level.shape[3]) for level in maps]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
        positions = torch.cat(
            [sine_positions(level) + own for level, own in zip(maps, self.level_encoding, strict=True)]
        )
        places = centres(sizes, tokens.device, tokens.dtype)
        for layer in self.encoder["layers"].children():
            tokens = layer(tokens, positions, places, sizes)
        parts = tokens.split([height * width for height, width in sizes], dim=1)
        return [part.transpose(1, 2).unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]


class EncoderLayer(nn.Module):
    """Deformable attention and a feed-forward network, each added and then normalised.

    Args:
        hidden: channels.
        heads: of the attention.
        network: channels inside the feed-forward network.
    """

    def __init__(self, hidden: int, heads: int, network: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(hidden, heads, COARSE, POINTS)
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.linear1, self.linear2 = nn.Linear(hidden, network), nn.Linear(network, hidden)

    def forward(self, tokens: Tensor, positions: Tensor, places: Tensor, sizes: Sequence[Size]) -> Tensor:
        """The tokens afterwards, ``[N, S, hidden]``.

        Args:
            tokens: of all maps, ``[N, S, hidden]``.
            positions: added where tokens ask, ``[S, hidden]``.
            places: of the tokens, ``[S, 2]``.
            sizes: of the maps.
        """
        tokens = self.norm1(tokens + self.self_attn(tokens + positions, places, tokens, sizes))
        return self.norm2(tokens + self.linear2(self.linear1(tokens).relu()))


def sine_positions(level: Tensor) -> Tensor:
    """Sines and cosines of a map's rows, then of its columns, ``[h w, C]`` for a map ``[N, C, h, w]``.

    A row's angle is its number, counted from 1, as a share of the height, times 2 pi; channels 2i and 2i + 1 of its
    half are the sine and the cosine of that angle divided by 10000 ** (4i / C).
    """
    channels, height, width = level.shape[1:]
    half = channels // 2
    even = torch.arange(0, half, 2, device=level.device, dtype=level.dtype)
    divisors = TEMPERATURE ** (even / half)
    parts = []
    for length in (height, width):
        numbers = torch.arange(1, length + 1, device=level.device, dtype=level.dtype)
        angles = numbers[:, None] / (length + 1e-6) * (2 * math.pi) / divisors
        parts.append(torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1))
    rows, columns = parts
    grid = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1)
    return grid.flatten(0, 1)
