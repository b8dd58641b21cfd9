"""A stand-in for a decoder's front layer, which puts decoded features where the layer would have put its own."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lamofcbench.errors import PluginError, ScenarioError
from lamofcbench.models.injection import StandIn
from lamofcbench.models.placement import device_of

if TYPE_CHECKING:
    from transformers import Cache

    from lamofcbench.models.language_model import SplitLanguageModel

CACHE_KEYWORDS = ("cache", "past_key_values", "cache_params")
"""What transformers calls a decoder's cache: the first since release 5.24, the others before, the last in Mamba."""


def keyword_of_cache(layer: nn.Module) -> str:
    """The keyword by which a decoder's layers, and with them the model and its output, call the cache.

    Raises:
        ScenarioError: if the layer takes no cache by a name that is known.
    """
    taken = inspect.signature(layer.forward).parameters
    for keyword in CACHE_KEYWORDS:
        if keyword in taken:
            return keyword
    raise ScenarioError(
        f"{type(layer).__name__} takes no cache as {', '.join(CACHE_KEYWORDS)}; a decoder is split where its layers do"
    )


class RestoredLayer(StandIn):
    """Stands in for a front layer: at its first call it restores what the layer would have left; later it is the layer.

    Args:
        model: whose layer it is.
        index: the layer's index, by which the cache knows it.
        memory: what the layer leaves in the cache, batched; None where nothing is generated, so that there is no cache.
        hidden: what the first call returns, ``[B, T, C]``.
    """

    def __init__(
        self, model: SplitLanguageModel, index: int, memory: tuple[Tensor, ...] | None, hidden: Tensor
    ) -> None:
        super().__init__(model.layers[index])
        self.model, self.index, self.memory, self.hidden = model, index, memory, hidden
        self.restored = False

    def forward(self, hidden_states: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        """The stored hidden state at the first call, the layer's output later."""
        if self.restored:
            return self.original(hidden_states, *arguments, **keywords)
        self.restored = True
        if self.memory is not None:
            # The cache is filled here, not beforehand: the model makes its mask for the prompt from an empty cache.
            cache: Cache | None = keywords.get(self.model.cache_keyword)
            if cache is None:
                raise PluginError(f"{type(self.original).__name__} gets no cache; this adapter cannot restore it")
            place = device_of(self.original, self.model.device)
            self.model.write_memory(cache, self.index, tuple(tensor.to(place) for tensor in self.memory))
        return self.hidden
