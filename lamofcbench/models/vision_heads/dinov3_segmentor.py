"""The segmentor that DINOv3's authors published for its ViT-7B/16: an adapter and a Mask2Former (arXiv 2112.01527).

Its adapter looks at the image, so its tail is handed the image beside the features (``image``, uint8): the windows that
the backbone saw are cut from it again. Where windows lie, and how their scores are joined, is as in `Mask2FormerHead`.
Modules are named as in ``dinov3_vit7b16_ade20k_m2f_head-bf307cb1.pth``, so that the file loads strictly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamofcbench.errors import DataError, ScenarioError
from lamofcbench.features import TORCH_DTYPES
from lamofcbench.models.images import as_rgb, normalised_bytes, scaled_bytes
from lamofcbench.models.vision_heads.base import (
    BlockOutputs,
    TrainedHeadOptions,
    VisionHead,
    VisionOptions,
    image_size,
)
from lamofcbench.models.vision_heads.dinov3_adapter import COARSEST, LEVELS, POINTS, Adapter, AdapterSizes
from lamofcbench.models.vision_heads.dinov3_pixel_decoder import PublishedPixelDecoder
from lamofcbench.models.vision_heads.dinov3_query_decoder import QueryDecoder
from lamofcbench.models.vision_heads.mask2former import Mask2FormerHead, scaled_size, window_starts
from lamofcbench.models.vision_heads.published import layers_of, load_published, size_of
from lamofcbench.scenarios.base import DTypeName, Scenario

IMAGE = "image"
"""The image among what the tail is given: uint8 ``[H, W, 3]``, before any resizing."""


class SegmentorOptions(TrainedHeadOptions):
    """Options of a segmentation scenario with the published head; the defaults are as published.

    Attributes:
        classes: the number of classes, which the weights must have; None to take what they have.
        crop_size: side of the square windows in pixels; images are scaled until their shorter side is as long.
        stride: pixels from a window to the next.
        attention_heads: of the queries' attention, which the weights do not tell.
        score_dtype: in which classes and masks are multiplied.
        backbone_autocast: in which torch's autocast runs the backbone; None to run it in ``compute_dtype`` throughout.
    """

    head_file: str = "dinov3_vit7b16_ade20k_m2f_head-bf307cb1.pth"
    classes: int | None = None
    crop_size: int = 896
    stride: int = 596
    attention_heads: int = 16
    score_dtype: DTypeName = "bfloat16"
    backbone_autocast: Literal["bfloat16"] | None = "bfloat16"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the model input: a window."""
        return self.crop_size, self.crop_size


@dataclass(frozen=True)
class SegmentorSizes:
    """The head's sizes; the defaults are the published ones.

    Attributes:
        adapter: of the adapter.
        hidden: channels of pixel decoder and queries.
        mask_channels: of the mask features.
        encoder_heads: of the pixel decoder's attention.
        encoder_layers: of the pixel decoder.
        encoder_network: channels inside its feed-forward networks.
        heads: of the queries' attention.
        layers: of the query decoder.
        network: channels inside its feed-forward networks.
        queries: Q.
        classes: K.
    """

    adapter: AdapterSizes = field(default_factory=AdapterSizes)
    hidden: int = 2048
    mask_channels: int = 2048
    encoder_heads: int = 16
    encoder_layers: int = 6
    encoder_network: int = 4096
    heads: int = 16
    layers: int = 9
    network: int = 4096
    queries: int = 100
    classes: int = 150


class Mask2Former(nn.Module):
    """The part after the adapter."""

    def __init__(self, sizes: SegmentorSizes) -> None:
        super().__init__()
        self.pixel_decoder = PublishedPixelDecoder(
            sizes.adapter.width,
            sizes.hidden,
            sizes.encoder_heads,
            sizes.encoder_layers,
            sizes.encoder_network,
            sizes.mask_channels,
        )
        self.predictor = QueryDecoder(
            sizes.hidden,
            sizes.heads,
            sizes.layers,
            sizes.network,
            sizes.queries,
            sizes.classes,
            sizes.mask_channels,
        )

    def forward(self, maps: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Class and mask logits of the queries, before the first layer and after each; see `QueryDecoder`."""
        return self.predictor(*self.pixel_decoder(maps))


class DINOv3SegmentorHead(Mask2FormerHead):
    """A class a pixel, from the features of an image's windows and the image.

    Args:
        levels: the four blocks whose outputs it reads, shallow to deep.
        sizes: of the network.
        crop_size: side of a window in pixels, a multiple of 32.
        stride: pixels from a window to the next.
        score_dtype: in which classes and masks are multiplied.
        backbone_autocast: see `VisionHead`.
    """

    name = "dinov3-segmentor"
    Options: ClassVar[type[VisionOptions]] = SegmentorOptions

    def __init__(
        self,
        levels: Sequence[int],
        sizes: SegmentorSizes | None = None,
        *,
        crop_size: int = 896,
        stride: int = 596,
        score_dtype: torch.dtype = torch.bfloat16,
        backbone_autocast: torch.dtype | None = torch.bfloat16,
    ) -> None:
        VisionHead.__init__(self)  # the parent's modules are others
        sizes = sizes or SegmentorSizes()
        self.levels, self.crop_size, self.stride, self.classes = tuple(levels), crop_size, stride, sizes.classes
        self.score_dtype, self.backbone_autocast = score_dtype, backbone_autocast
        self.segmentation_model = nn.ModuleList([Adapter(sizes.adapter), Mask2Former(sizes)])

    @classmethod
    def load(cls, scenario: Scenario, options: Any, directory: Path | None, width: int) -> DINOv3SegmentorHead:
        """The head of a scenario, with its sizes as the weights have them.

        Raises:
            ScenarioError: if the options do not say where the weights are, or do not fit.
            DataError: if the weights are missing or not those of such a head.
        """
        if options.crop_size % COARSEST or not 1 <= options.stride <= options.crop_size:
            raise ScenarioError(
                f"scenario {scenario.id!r}: crop_size ({options.crop_size}) must be a multiple of {COARSEST}, and "
                "stride 1 to crop_size"
            )
        if len(scenario.splits) != LEVELS or IMAGE not in {spec.name for spec in scenario.given}:
            raise ScenarioError(
                f"scenario {scenario.id!r}: head {cls.name!r} reads {LEVELS} levels of blocks, and a tensor {IMAGE!r} "
                "that the scenario declares among what it gives its tail"
            )
        path = options.head_path(scenario, directory)

        def make(tensors: Mapping[str, Tensor]) -> DINOv3SegmentorHead:
            return cls(
                scenario.splits,
                _sizes(tensors, width, options.attention_heads),
                crop_size=options.crop_size,
                stride=options.stride,
                score_dtype=TORCH_DTYPES[options.score_dtype],
                backbone_autocast=None if options.backbone_autocast is None else torch.bfloat16,
            )

        head = load_published(path, make)
        if options.classes is not None and options.classes != head.classes:
            raise DataError(f"{path} has {head.classes} classes; scenario {scenario.id!r} states {options.classes}")
        return head

    def views(self, image: np.ndarray, size: tuple[int, int]) -> Tensor:
        """The windows of an image, row by row, float32 ``[V, 3, crop_size, crop_size]``."""
        scaled = scaled_size(image.shape[0], image.shape[1], self.crop_size)
        pixels = normalised_bytes(scaled_bytes(image, scaled))
        rows, columns = (window_starts(length, self.crop_size, self.stride) for length in scaled)
        side = self.crop_size
        return torch.stack([pixels[:, y : y + side, x : x + side] for y in rows for x in columns])

    def given(self, image: np.ndarray) -> dict[str, Tensor]:
        """The image, uint8 ``[H, W, 3]``."""
        return {IMAGE: torch.from_numpy(as_rgb(image))}

    def steps(self, outputs: BlockOutputs) -> list[tuple[Tensor, Tensor]]:
        """Class logits ``[N, Q, K + 1]``, the last one for "nothing", and mask logits ``[N, Q, h, w]`` of the queries.

        One pair before the first layer and one after each; the last one is the prediction.

        Raises:
            ScenarioError: if the images are not given, or are not those that the features are of.
        """
        pixels = self._windows(outputs)
        maps = [outputs.patch_map(level) for level in self.levels]
        adapter, mask2former = self.segmentation_model
        return mask2former(adapter(pixels.to(maps[0]), maps))

    def semantic(self, class_logits: Tensor, mask_logits: Tensor) -> Tensor:
        """How much each class is at each pixel of the windows, float32 ``[N, K, crop_size, crop_size]``, 0 to Q."""
        side = (self.crop_size, self.crop_size)
        masks = functional.interpolate(mask_logits, side, mode="bilinear", align_corners=False).sigmoid()
        classes = class_logits.softmax(dim=-1)[..., :-1]
        return torch.einsum("nqk,nqhw->nkhw", classes.to(self.score_dtype), masks.to(self.score_dtype)).float()

    def _windows(self, outputs: BlockOutputs) -> Tensor:
        """The windows of all samples, ``[N, 3, crop_size, crop_size]``."""
        windows = []
        for side, given, count in zip(outputs.sides, outputs.given, outputs.views, strict=True):
            if IMAGE not in given:
                raise ScenarioError(
                    f"head {self.name!r} looks at the image: hand its tail {IMAGE!r} beside the features"
                )
            image = given[IMAGE]
            if tuple(image.shape[:2]) != image_size(side):
                raise ScenarioError(
                    f"the image given has {image.shape[0]} x {image.shape[1]} pixels; side information tells of "
                    f"{side['height']} x {side['width']}"
                )
            windows.append(self.views(image.cpu().numpy(), (self.crop_size, self.crop_size)))
            if len(windows[-1]) != count:
                raise ScenarioError(f"features hold {count} windows; the image given has {len(windows[-1])}")
        return torch.cat(windows)


def _sizes(tensors: Mapping[str, Tensor], width: int, heads: int) -> SegmentorSizes:
    """What the weights tell of a head's sizes."""
    adapter, head = "segmentation_model.0.", "segmentation_model.1."
    extractor, layer = f"{adapter}interactions.0.extractor.", f"{head}pixel_decoder.encoder.encoder.layers.0."
    published, predictor = SegmentorSizes(), f"{head}predictor."
    first = published.adapter

    def rows(name: str, otherwise: int) -> int:
        return size_of(tensors, name, 0, otherwise)

    points = rows(f"{extractor}attn.attention_weights.bias", first.heads * POINTS)
    levels = rows(f"{head}pixel_decoder.encoder.level_encoding", 3)
    places = rows(f"{layer}self_attn.attention_weights.bias", published.encoder_heads * levels * POINTS)
    return SegmentorSizes(
        adapter=AdapterSizes(
            width=width,
            stem=rows(f"{adapter}spm.stem.0.weight", first.stem),
            heads=points // POINTS,
            value_width=rows(f"{extractor}attn.value_proj.bias", first.value_width),
            network=rows(f"{extractor}ffn.fc1.bias", first.network),
            extra=layers_of(tensors, f"{adapter}interactions.{LEVELS - 1}.extra_extractors.", first.extra),
        ),
        hidden=rows(f"{predictor}post_norm.weight", published.hidden),
        mask_channels=rows(f"{head}pixel_decoder.mask_feature.bias", published.mask_channels),
        encoder_heads=places // (levels * POINTS),
        encoder_layers=layers_of(tensors, f"{head}pixel_decoder.encoder.encoder.layers.", published.encoder_layers),
        encoder_network=rows(f"{layer}linear1.bias", published.encoder_network),
        heads=heads,
        layers=layers_of(tensors, f"{predictor}transformer_ffn_layers.", published.layers),
        network=rows(f"{predictor}transformer_ffn_layers.0.linear1.bias", published.network),
        queries=rows(f"{predictor}query_feat.weight", published.queries),
        classes=rows(f"{predictor}class_embed.bias", published.classes + 1) - 1,
    )
