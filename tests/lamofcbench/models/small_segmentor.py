"""A segmentor of the published kind, small enough for loops, with random weights everywhere."""

from __future__ import annotations

from typing import Any

import torch
from conftest_models import randomised

from lamofcbench.models.vision_heads.dinov3_adapter import AdapterSizes
from lamofcbench.models.vision_heads.dinov3_segmentor import DINOv3SegmentorHead, SegmentorSizes

LEVELS, WIDTH, SIDE, STRIDE, CLASSES = (0, 2, 4, 5), 32, 64, 40, 5
ADAPTER_HEADS, ENCODER_HEADS, HEADS = 2, 4, 8
SIZES = SegmentorSizes(
    adapter=AdapterSizes(width=WIDTH, stem=4, heads=ADAPTER_HEADS, value_width=16, network=8),
    hidden=64,
    mask_channels=16,
    encoder_heads=ENCODER_HEADS,
    encoder_layers=2,
    encoder_network=24,
    heads=HEADS,
    layers=4,
    network=40,
    queries=6,
    classes=CLASSES,
)


def small_segmentor(seed: int = 1, **changes: Any) -> DINOv3SegmentorHead:
    settings: dict[str, Any] = {"crop_size": SIDE, "stride": STRIDE, **changes}
    head = randomised(DINOv3SegmentorHead(LEVELS, SIZES, **settings), seed, spread=0.2)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, buffer in head.named_buffers():
            if buffer.is_floating_point():  # running statistics as after training
                buffer.copy_((0.5 if "var" in name else 0) + torch.rand(buffer.shape, generator=generator))
        for name, parameter in head.named_parameters():
            if "sampling_offsets.bias" in name:  # some places lie outside of the map
                parameter.mul_(10)
            if "class_embed" in name or "mask_embed" in name or "query_" in name:  # different classes, clear masks
                parameter.mul_(5)
    return head
