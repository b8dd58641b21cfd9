"""Decoders with key-value caches, such as Qwen3, split after a layer.

Splitting after layer S gives, for a prompt of T tokens,

* ``key.i`` and ``value.i``, ``[H, T, D]`` for i = 0..S: the caches as transformers holds them, keys normalised and
  rotated to their positions 0..T-1;
* ``hidden``, ``[T, C]``: the output of layer S.

How the tail goes on from there stands in `lamofcbench.models.language_model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lamofcbench.errors import ScenarioError
from lamofcbench.models.language_model import SplitLanguageModel

if TYPE_CHECKING:
    from transformers import Cache


class DecoderSplitModel(SplitLanguageModel):
    """A decoder of transformers with a key-value cache, split after a layer; proven on Qwen3.

    Its arguments are those of `SplitLanguageModel`.
    """

    name = "qwen3-decoder"
    memory_names = ("key", "value")

    def check_memory(self, index: int, layer: Any) -> None:
        """Refuses layers without full attention, because their caches forget the older tokens."""
        from transformers.cache_utils import DynamicLayer

        if type(layer) is not DynamicLayer:  # its subclass is the one for sliding windows
            raise ScenarioError(
                f"layer {index} of {type(self.model).__name__} keeps a {type(layer).__name__}; front layers need full "
                "attention with one key and one value per token"
            )

    def read_memory(self, layer: Any) -> tuple[Tensor, ...]:
        """Keys and values, ``[1, H, T, D]``."""
        return layer.keys, layer.values

    def write_memory(self, cache: Cache, index: int, memory: tuple[Tensor, ...]) -> None:
        """Puts keys and values into the cache."""
        key, value = memory
        cache.update(key, value, index)

    def collated(self, tensors: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
        """Keys or values ``[H, T, D]`` as ``[B, H, max T, D]``, zeros on the left."""
        return self.left_padded(tensors, lengths)
