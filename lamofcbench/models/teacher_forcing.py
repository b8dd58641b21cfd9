"""Teacher forcing: the logits of given continuations of prompts that were read, as if the model had chosen them.

The tokens of a continuation run through all layers on the caches that the prompt has left, together where the caches
take several tokens at a time. That gives what generation would give if it chose these tokens one by one.

Nothing here switches gradients off: where the caller has them on, they reach the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

CONTINUATION = "continuation"
"""The tokens that follow a prompt, beside its features (`FeatureSet.given`); int64 ``[n]``."""


@dataclass(frozen=True)
class Prefilled:
    """Prompts that the model has read.

    Attributes:
        cache: of all layers; it grows with the tokens that follow.
        mask: 1 for tokens and 0 for padding on the left, int64 ``[B, T]``.
        logits: behind each prompt, ``[B, vocabulary]``.
    """

    cache: Any
    mask: Tensor
    logits: Tensor


class Continuing(Protocol):
    """What is asked of a split decoder; see `lamofcbench.models.language_model.SplitLanguageModel`."""

    device: torch.device
    cache_keyword: str
    takes_tokens_together: ClassVar[bool]

    def forward(self, **inputs: Any) -> Any:
        """Runs the model once, all layers."""


def forced_logits(model: Continuing, prompts: Prefilled, continuations: Sequence[Tensor]) -> Tensor:
    """The logits that predict each token of each continuation.

    Args:
        model: a split decoder.
        prompts: what it has read, of any lengths; their cache is used up.
        continuations: for each prompt the tokens that follow it, int64 ``[n]``, at least one; n may differ.

    Returns:
        ``[B, longest n, vocabulary]`` in compute precision; row i predicts token i, from the prompt and the tokens
        before it. Rows behind a continuation's end are zero.
    """
    lengths = torch.tensor([len(tokens) for tokens in continuations], device=model.device)
    longest = int(lengths.max())
    tokens = torch.zeros(len(continuations), longest, dtype=torch.int64, device=model.device)
    for row, one in enumerate(continuations):  # padded on the right, where no token of the row looks
        tokens[row, : len(one)] = one
    counts = torch.arange(longest, device=model.device) < lengths[:, None]
    # The last token predicts nothing that is scored.
    parts = [prompts.logits[:, None], *_followed(model, prompts, tokens[:, :-1], counts[:, 1:])]
    logits = torch.cat(parts, dim=1)
    return torch.where(counts[..., None], logits, logits.new_zeros(()))


def _followed(model: Continuing, prompts: Prefilled, tokens: Tensor, counts: Tensor) -> Iterator[Tensor]:
    """Logits behind the tokens ``[B, n]``, in pieces along the second axis."""
    if not tokens.shape[1]:
        return
    caching = {model.cache_keyword: prompts.cache, "use_cache": True}
    if not model.takes_tokens_together:
        for one in tokens.split(1, dim=1):  # a state reads no mask: padded rows go astray behind their end
            yield model.forward(input_ids=one, **caching).logits
        return
    mask = torch.cat([prompts.mask, counts.to(prompts.mask)], dim=1)
    positions = prompts.mask.sum(-1, keepdim=True) + torch.arange(tokens.shape[1], device=model.device)
    yield model.forward(input_ids=tokens, attention_mask=mask, position_ids=positions, **caching).logits
