"""DINOv3 vision transformers, split after blocks: multi-level features, and any head behind them.

Blocks count from 0; ``block.N`` is the output of block N before the backbone's final norm, ``[T, C]`` with the class
token first, then the registers, then the patches row by row (``[V, T, C]`` for heads of several views).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lamofcbench.errors import ScenarioError
from lamofcbench.features import FeatureSet
from lamofcbench.models.base import SplitModel
from lamofcbench.models.injection import capture
from lamofcbench.models.loading import load_pretrained, parse_options
from lamofcbench.models.placement import settled
from lamofcbench.models.vision_heads.base import HEADS, BlockOutputs, VisionHead
from lamofcbench.scenarios.base import Scenario

if TYPE_CHECKING:
    from transformers import DINOv3ViTModel


class DINOv3SplitModel(SplitModel):
    """A DINOv3 backbone split after some of its blocks.

    The tail takes up the last split level, runs the blocks after it if there are any, and hands all levels to the head.

    Args:
        backbone: the model, whose dtype is the compute dtype.
        head: what stands behind it.
        splits: the blocks whose outputs are the features, ascending.
        image_size: height and width of the model input in pixels.
        device: a torch device.
    """

    name = "dinov3-vit"
    hub_options: ClassVar = {"head_repo": "head_revision"}

    def __init__(
        self,
        backbone: DINOv3ViTModel,
        head: VisionHead,
        splits: Sequence[int],
        image_size: tuple[int, int],
        device: str = "cpu",
    ) -> None:
        config: Any = backbone.config
        depth, patch = config.num_hidden_layers, config.patch_size
        if not splits or not 0 <= min(splits) <= max(splits) < depth:
            raise ScenarioError(f"split points {list(splits)} must name blocks 0..{depth - 1} of the backbone")
        if any(side < patch or side % patch for side in image_size):
            raise ScenarioError(f"image size {list(image_size)} must be a multiple of the patch size {patch}")
        self.device = torch.device(device)
        module: nn.Module = backbone
        settled(module, self.device).eval()
        self.backbone: Any = backbone
        self.head = head.to(self.device, backbone.dtype).eval()
        self.response_kind = self.head.response_kind
        self.splits, self.image_size = tuple(splits), image_size
        self.prefix_tokens = 1 + config.num_register_tokens
        self.grid = (image_size[0] // patch, image_size[1] // patch)
        self.tokens = self.prefix_tokens + self.grid[0] * self.grid[1]

    @classmethod
    def load(cls, scenario: Scenario, directory: Path | None, device: str) -> DINOv3SplitModel:
        """The model of a scenario; its options are those of its head's ``Options``."""
        from transformers import DINOv3ViTModel

        (head_class,) = cls.parts(scenario)
        options = parse_options(head_class.Options, scenario)
        unused = ["embeddings", *(f"model.layer.{index}" for index in range(scenario.splits[-1] + 1))]
        backbone = load_pretrained(DINOv3ViTModel, scenario, directory, options.dtype, unused=unused)
        head = head_class.load(scenario, options, directory, backbone.config.hidden_size)
        return cls(backbone, head, scenario.splits, options.size, device)

    @classmethod
    def parts(cls, scenario: Scenario) -> tuple[type[VisionHead]]:
        """The head that the scenario's options name."""
        return (HEADS.get(str(scenario.backbone.options.get("head", "linear")), relative_to=scenario.origin),)

    @classmethod
    def shows_responses(cls, scenario: Scenario) -> bool:
        """Whether the scenario's head does."""
        return all(head.response_kind is not None for head in cls.parts(scenario))

    @torch.no_grad()
    def front(self, inputs: np.ndarray) -> FeatureSet:
        """The block outputs of one image.

        Args:
            inputs: uint8 ``[H, W, 3]`` (RGB) or ``[H, W]`` (grey).
        """
        pixels = self.head.views(inputs, self.image_size).to(self.device)
        with self._precision():
            blocks = capture(
                lambda: self.backbone(pixels), {f"block.{index}": self._blocks[index] for index in self.splits}
            )
        if not self.head.multi_view:
            blocks = {name: output[0] for name, output in blocks.items()}
        features = {name: output.cpu() for name, output in blocks.items()}
        return FeatureSet(features, self.head.side(inputs), self.head.given(inputs))

    @torch.no_grad()
    def tail(self, batch: Sequence[FeatureSet]) -> list[Any]:
        """A prediction for each feature set; sets of the same token count go through the head together."""
        predictions: list[Any] = [None] * len(batch)
        for positions in _by_token_count(batch, self._name(self.splits[-1])):
            outputs = self._outputs([batch[position] for position in positions])
            for position, prediction in zip(positions, self.head.predict(outputs), strict=True):
                predictions[position] = prediction
        return predictions

    def response(self, batch: Sequence[FeatureSet]) -> Tensor:
        """What the head shows of each image; see its ``respond``."""
        if self.response_kind is None:
            return super().response(batch)
        return self._assessed(batch, deciding=False)[1]

    def response_lengths(self, batch: Sequence[FeatureSet]) -> list[int]:
        """What the head says: one position an image, or its pixels."""
        return [self.head.response_length(features.side) for features in batch]

    @torch.no_grad()
    def tail_and_response(self, batch: Sequence[FeatureSet]) -> tuple[list[Any], Tensor]:
        """Both from the same assessment, unless the head predicts in another way."""
        own_predict = type(self.head).predict is not VisionHead.predict
        if own_predict or not self.tail_and_response_are_of(DINOv3SplitModel):
            return super().tail_and_response(batch)
        return self._assessed(batch, deciding=True)

    @torch.no_grad()
    def full(self, inputs: np.ndarray) -> Any:
        """The unsplit model's prediction for one image."""
        pixels = self.head.views(inputs, self.image_size).to(self.device)
        # The first of the hidden states is the embedding; the last one is not normalised.
        with self._precision():
            outputs = self.backbone(pixels, output_hidden_states=True).hidden_states[1:]
        blocks = {index: outputs[index] for index in (*self.splits, len(outputs) - 1)}
        bundle = self._bundle(blocks, [len(pixels)], [self.head.side(inputs)], [self.head.given(inputs)])
        return self.head.predict(bundle)[0]

    def front_modules(self) -> list[nn.Module]:
        """Embeddings and all blocks up to the last split level."""
        return [self.backbone.embeddings, *self._blocks[: self.splits[-1] + 1]]

    @property
    def _blocks(self) -> nn.ModuleList:
        return self.backbone.model.layer

    @staticmethod
    def _name(index: int) -> str:
        return f"block.{index}"

    def _outputs(self, batch: Sequence[FeatureSet]) -> BlockOutputs:
        """What the head sees of feature sets of one token count."""
        blocks = {index: self._joined([features[self._name(index)] for features in batch]) for index in self.splits}
        last = self.splits[-1]
        if last + 1 < len(self._blocks):
            blocks[len(self._blocks) - 1] = self._remaining_blocks(blocks[last], last + 1).to(self.device)
        counts = [len(features[self._name(last)]) if self.head.multi_view else 1 for features in batch]
        sides, given = [features.side for features in batch], [features.given for features in batch]
        return self._bundle(blocks, counts, sides, given)

    def _assessed(self, batch: Sequence[FeatureSet], *, deciding: bool) -> tuple[list[Any], Tensor]:
        """Predictions, None where they are not asked for, and responses ``[B, N, K]``."""
        predictions: list[Any] = [None] * len(batch)
        responses: list[Tensor] = [torch.empty(0, 0)] * len(batch)
        for positions in _by_token_count(batch, self._name(self.splits[-1])):
            outputs = self._outputs([batch[position] for position in positions])
            for position, assessed in zip(positions, self.head.assess(outputs), strict=True):
                responses[position] = self.head.respond(assessed)
                predictions[position] = self.head.decide(assessed) if deciding else None
        return predictions, pad_sequence(responses, batch_first=True)

    def _joined(self, tensors: Sequence[Tensor]) -> Tensor:
        joined = torch.cat(list(tensors)) if self.head.multi_view else torch.stack(list(tensors))
        return joined.to(self.device, self.backbone.dtype)

    def _remaining_blocks(self, hidden: Tensor, start: int) -> Tensor:
        if hidden.shape[1] != self.tokens:
            raise ScenarioError(
                f"features have {hidden.shape[1]} tokens; images of size {list(self.image_size)} have {self.tokens}"
            )
        # Rotary positions depend on the height and width of this tensor only.
        shape_only = hidden.new_zeros(()).expand(1, 3, *self.image_size)
        positions = self.backbone.rope_embeddings(shape_only)
        with self._precision():
            for block in self._blocks[start:]:
                hidden = block(hidden, position_embeddings=positions)
        return hidden

    def _precision(self) -> AbstractContextManager[Any]:
        dtype = self.head.backbone_autocast
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype)

    def _bundle(
        self,
        blocks: Mapping[int, Tensor],
        views: Sequence[int],
        sides: Sequence[Mapping[str, int]],
        given: Sequence[Mapping[str, Tensor]],
    ) -> BlockOutputs:
        return BlockOutputs(blocks, views, sides, self.backbone.norm, self.prefix_tokens, self.grid, given)


def _by_token_count(batch: Sequence[FeatureSet], name: str) -> Iterable[list[int]]:
    """Positions in a batch, grouped by the token count of one tensor."""
    groups: dict[int, list[int]] = {}
    for position, features in enumerate(batch):
        groups.setdefault(features[name].shape[-2], []).append(position)
    return groups.values()
