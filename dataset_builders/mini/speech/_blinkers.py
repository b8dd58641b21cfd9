"""Blinkers: in training, some decoder layers may not look from the answer back at the prompt.

Left alone, a small decoder does all its listening in one or two layers, and what the others keep of the prompt is never
looked at: a codec could spoil their caches and lose nothing. Published models are not like that. Layers that may be
blind at any time teach each other to listen, the ones before the split more than the ones behind it, and what all of
them have in the cache counts.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SIGHTED_SHARE = 0.25
FRONT_BLIND, BACK_BLIND = 0.4, 0.7


def draw_blindness(source: random.Random, samples: int, layers: int, front: int) -> Tensor:
    """Returns which layers are blind for which samples, bool ``[layers, samples]``; one front layer always sees.

    Args:
        source: of the draws.
        samples: how many.
        layers: of the decoder.
        front: how many of them stand before the split.
    """
    columns = []
    for _ in range(samples):
        sighted = source.random() < SIGHTED_SHARE
        blind = [not sighted and source.random() < (FRONT_BLIND if i < front else BACK_BLIND) for i in range(layers)]
        blind[source.randrange(front)] = False
        columns.append(blind)
    return torch.tensor(columns).T


@contextlib.contextmanager
def blinkered(layers: Sequence[nn.Module], answering: Tensor, blind: Tensor) -> Iterator[None]:
    """Runs decoder layers with blinkers.

    Args:
        layers: the decoder's.
        answering: the positions of the answer's tokens, bool ``[B, T]``; the prompt stands before them.
        blind: see `draw_blindness`.
    """
    length = answering.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    prompt = answering.cumsum(1) == 0
    hidden = answering[:, :, None] & prompt[:, None, :]

    def masked(index: int) -> Any:
        mask = (causal & ~(hidden & blind[index][:, None, None]))[:, None]

        def hook(module: nn.Module, arguments: Any, keywords: dict[str, Any]) -> Any:
            return arguments, {**keywords, "attention_mask": mask}

        return hook

    handles = [layer.register_forward_pre_hook(masked(index), with_kwargs=True) for index, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
