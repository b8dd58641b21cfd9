"""The query decoder of DINOv3's published segmentation head: that of Mask2Former (arXiv 2112.01527).

Learned queries look at the pixel decoder's maps in turn, each only where its own mask of the step before lies, and end
as a class and a mask each. Modules are named as under ``segmentation_model.1.predictor.`` in
``dinov3_vit7b16_ade20k_m2f_head-bf307cb1.pth``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamofcbench.models.vision_heads.dinov3_pixel_decoder import COARSE, sine_positions

MASK_LAYERS = 3


class QueryDecoder(nn.Module):
    """Classes and masks of learned queries.

    Args:
        hidden: channels of the queries and of the maps.
        heads: of both attentions.
        layers: D, one after the other.
        network: channels inside the feed-forward networks.
        queries: Q.
        classes: K.
        mask_channels: of the mask features.
    """

    def __init__(
        self, hidden: int, heads: int, layers: int, network: int, queries: int, classes: int, mask_channels: int
    ) -> None:
        super().__init__()
        self.transformer_self_attention_layers = nn.ModuleList(SelfAttention(hidden, heads) for _ in range(layers))
        self.transformer_cross_attention_layers = nn.ModuleList(CrossAttention(hidden, heads) for _ in range(layers))
        self.transformer_ffn_layers = nn.ModuleList(Network(hidden, network) for _ in range(layers))
        self.post_norm = nn.LayerNorm(hidden)
        self.query_feat = nn.Embedding(queries, hidden)
        self.query_embed = nn.Embedding(queries, hidden)
        self.level_embed = nn.Embedding(COARSE, hidden)
        self.class_embed = nn.Linear(hidden, classes + 1)
        self.mask_embed = Perceptron(hidden, mask_channels)

    def forward(self, maps: Sequence[Tensor], mask_features: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Class logits ``[N, Q, K + 1]`` and mask logits ``[N, Q, h, w]``, before the first layer and after each.

        Args:
            maps: coarse to fine, ``[N, hidden, h, w]`` each.
            mask_features: ``[N, mask_channels, h, w]``.
        """
        values = [
            level.flatten(2).transpose(1, 2) + own for level, own in zip(maps, self.level_embed.weight, strict=True)
        ]
        keys = [value + sine_positions(level) for value, level in zip(values, maps, strict=True)]
        own = self.query_embed.weight
        queries = self.query_feat.weight.expand(len(mask_features), -1, -1)
        steps = [self._judged(queries, mask_features)]
        layers = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        for number, (cross, within, network) in enumerate(layers):
            turn = number % COARSE
            queries = cross(queries, own, keys[turn], values[turn], _blocked(steps[-1][1], maps[turn]))
            queries = network(within(queries, own))
            steps.append(self._judged(queries, mask_features))
        return steps

    def _judged(self, queries: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        queries = self.post_norm(queries)
        masks = torch.einsum("nqc,nchw->nqhw", self.mask_embed(queries), mask_features)
        return self.class_embed(queries), masks


class CrossAttention(nn.Module):
    """Attention to a map where a query's mask lies, added and then normalised."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, queries: Tensor, positions: Tensor, keys: Tensor, values: Tensor, blocked: Tensor) -> Tensor:
        """The queries afterwards, ``[N, Q, hidden]``.

        Args:
            queries: ``[N, Q, hidden]``.
            positions: the queries' own, ``[Q, hidden]``.
            keys: ``[N, S, hidden]``.
            values: ``[N, S, hidden]``.
            blocked: True where a query does not look, bool ``[N, Q, S]``.
        """
        mask = blocked.repeat_interleave(self.multihead_attn.num_heads, dim=0)
        found, _ = self.multihead_attn(queries + positions, keys, values, attn_mask=mask, need_weights=False)
        return self.norm(queries + found)


class SelfAttention(nn.Module):
    """Attention of the queries to each other, added and then normalised; ``[N, Q, hidden]`` both ways."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, queries: Tensor, positions: Tensor) -> Tensor:
        """See the class; positions are the queries' own, ``[Q, hidden]``."""
        asked = queries + positions
        return self.norm(queries + self.self_attn(asked, asked, queries, need_weights=False)[0])


class Network(nn.Module):
    """Two linear layers with a ReLU between them, added and then normalised; ``[N, Q, hidden]`` both ways."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, queries: Tensor) -> Tensor:
        """See the class."""
        return self.norm(queries + self.linear2(self.linear1(queries).relu()))


class Perceptron(nn.Module):
    """Three linear layers with ReLUs between them; ``[N, Q, outputs]`` of ``[N, Q, hidden]``."""

    def __init__(self, hidden: int, outputs: int) -> None:
        super().__init__()
        widths = [hidden] * MASK_LAYERS + [outputs]
        self.layers = nn.ModuleList(nn.Linear(one, other) for one, other in pairwise(widths))

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        first, *others = self.layers
        values = first(values)
        for layer in others:
            values = layer(values.relu())
        return values


def _blocked(mask_logits: Tensor, level: Tensor) -> Tensor:
    """Where queries do not look, bool ``[N, Q, h w]``: outside their masks; one with an empty mask looks everywhere."""
    resized = functional.interpolate(mask_logits.detach(), level.shape[2:], mode="bilinear", align_corners=False)
    outside = (resized.sigmoid() < 0.5).flatten(2)
    return outside & ~outside.all(dim=-1, keepdim=True)
