"""Kinds of features: what codecs meet, by the roles of a scenario's tensors and not by its name."""

from __future__ import annotations

from typing import Literal, get_args

from lamofcbench.scenarios.base import FeatureSpecs

Kind = Literal["kv-cache", "ssm-state", "text-embedding", "latent", "hidden-state"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def kind_of(specs: FeatureSpecs) -> Kind:
    """What a scenario's features are, by the tensors that make most of them.

    Caches and states come with the hidden state at the split, embeddings of text with what else a generator is
    conditioned on; the levels of a vision transformer are hidden states alone.

    Example:
        >>> from lamofcbench.scenarios.base import SCENARIOS
        >>> [kind_of(SCENARIOS.get(name).specs) for name in ("mini-clu-facts", "mini-cvu-depth", "ctti-coco-canny")]
        ['kv-cache', 'hidden-state', 'text-embedding']
    """
    roles = {spec.role for spec in specs.tensors}
    if "key" in roles or "value" in roles:
        return "kv-cache"
    if "ssm_state" in roles or "conv_state" in roles:
        return "ssm-state"
    if "embedding" in roles or "pooled" in roles:
        return "text-embedding"
    return "latent" if "latent" in roles else "hidden-state"
