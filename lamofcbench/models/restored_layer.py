"""A stand-in for a decoder's front layer, which puts decoded features where the layer would have put its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lamofcbench.errors import PluginError, ScenarioError
from lamofcbench.models.injection import StandIn

if TYPE_CHECKING:
    from transformers import Cache

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
        layer: that it stands in for.
        hidden: what the first call returns, ``[B, T, C]``.
        cache_keyword: by which the layer is given the cache.
        write: puts into the cache what the layer would have left there; None where nothing is generated, so that there
            is no cache.
    """

    def __init__(
        self, layer: nn.Module, hidden: Tensor, cache_keyword: str, write: Callable[[Cache], None] | None
    ) -> None:
        super().__init__(layer)
        self.hidden, self.cache_keyword, self.write = hidden, cache_keyword, write
        self.restored = False

    def forward(self, hidden_states: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        """The stored hidden state at the first call, the layer's output later."""
        if self.restored:
            return self.original(hidden_states, *arguments, **keywords)
        self.restored = True
        if self.write is not None:
            # The cache is filled here, not beforehand: the model makes its mask for the prompt from an empty cache.
            cache: Cache | None = keywords.get(self.cache_keyword)
            if cache is None:
                raise PluginError(f"{type(self.original).__name__} gets no cache; this adapter cannot restore it")
            self.write(cache)
        return self.hidden
