"""Logits of given continuations of a prompt whose front was decoded: teacher forcing through tail and caches.

The prompt costs the layers behind the split only, as in generation: stand-ins restore the decoded caches and the
decoded hidden state. The tokens of the continuation then run together, in one forward pass through all layers, on
those caches. That gives what generation would give if it chose these tokens one by one.

Nothing here switches gradients off: where the caller has them on, they reach the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lamofcbench.features import FeatureSet

if TYPE_CHECKING:
    from lamofcbench.models.language_model import SplitLanguageModel


def continuation_logits(
    model: SplitLanguageModel, batch: Sequence[FeatureSet], continuations: Sequence[Tensor]
) -> list[Tensor]:
    """The logits that predict each token of each continuation.

    Args:
        model: a split decoder whose cache takes several tokens at a time, which those of attention do.
        batch: the features of prompts, of any lengths.
        continuations: for each prompt the tokens that follow it, int64 ``[n]``, at least one; n may differ.

    Returns:
        For each prompt ``[n, vocabulary]`` in compute precision; row i predicts token i, from the prompt and the tokens
        before it.
    """
    from transformers import DynamicCache

    padded = model.padded_batch(batch)
    cache = DynamicCache(config=model.model.config)
    caching = {model.cache_keyword: cache, "use_cache": True}
    with model.restored(padded, caching=True):
        first = model.forward(**model.prefill_inputs(padded), **caching, logits_to_keep=1).logits[:, -1:]
        followed = [tokens[:-1].to(model.device) for tokens in continuations]  # the last token predicts nothing scored
        longest = max(map(len, followed))
        if not longest:
            return list(first)
        tokens = torch.zeros(len(followed), longest, dtype=torch.int64, device=model.device)
        mask = torch.zeros_like(tokens)
        for row, one in enumerate(followed):  # padded on the right, where no token of the row looks
            tokens[row, : len(one)] = one
            mask[row, : len(one)] = 1
        lengths = padded.mask.sum(-1, keepdim=True)
        positions = lengths + torch.arange(longest, device=model.device)
        whole_mask = torch.cat([padded.mask, mask], dim=-1)
        where = {"attention_mask": whole_mask, "position_ids": positions}
        later = model.forward(input_ids=tokens, **where, **caching).logits
    logits = torch.cat([first, later], dim=1)
    return [one[: len(given)] for one, given in zip(logits, continuations, strict=True)]
