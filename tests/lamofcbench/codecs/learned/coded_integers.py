"""The integers that a latent coder codes, laid out as CompressAI lays them out, for comparison with its numbers."""

from __future__ import annotations

from unittest import mock

import numpy as np
import torch
from torch import Tensor

from lamofcbench.codecs.learned.elic import checkerboard
from lamofcbench.codecs.learned.latent_coders import LatentCoder
from lamofcbench.codecs.learned.network import LATENT_STRIDE, STRIDE
from lamofcbench.codecs.learned.symbols import LatentWriter


def coded_integers(coder: LatentCoder, planes: Tensor) -> tuple[dict[str, Tensor], bytes]:
    """``z_symbols``, ``y_symbols`` and ``y_indexes``, each int32 ``[B, channels, h, w]``, and the coded bytes.

    Args:
        coder: of either network.
        planes: float32 ``[B, 1, H, W]``.
    """
    calls = []
    code = LatentWriter.code

    def recorded(self, tables, indices, symbols):
        calls.append((np.asarray(symbols), np.asarray(indices)))
        return code(self, tables, indices, symbols)

    with torch.no_grad(), mock.patch.object(LatentWriter, "code", recorded):
        payload = coder.encode([planes])
    (z, _), *parts = calls
    batch, _, height, width = planes.shape
    symbols, indices = (_whole([torch.from_numpy(p[n].astype(np.int32)) for p in parts], planes) for n in (0, 1))
    hyper_latents = torch.from_numpy(z.astype(np.int32)).view(batch, height // STRIDE, width // STRIDE, -1)
    return {"z_symbols": hyper_latents.permute(0, 3, 1, 2), "y_symbols": symbols, "y_indexes": indices}, payload


def _whole(parts: list[Tensor], planes: Tensor) -> Tensor:
    """Latents at their channels and places; ELIC codes each group's anchors, then the rest of it."""
    batch, height, width = planes.shape[0], planes.shape[2] // LATENT_STRIDE, planes.shape[3] // LATENT_STRIDE
    if len(parts) == 1:
        return parts[0].view(batch, height, width, -1).permute(0, 3, 1, 2)
    anchors = checkerboard(height, width).reshape(-1)
    groups = []
    for anchor_part, other_part in zip(parts[::2], parts[1::2], strict=True):
        flat = anchor_part.new_empty(batch, height * width, anchor_part.numel() * 2 // (batch * height * width))
        flat[:, anchors], flat[:, ~anchors] = (p.view(batch, -1, flat.shape[2]) for p in (anchor_part, other_part))
        groups.append(flat.view(batch, height, width, -1))
    return torch.cat(groups, 3).permute(0, 3, 1, 2)
