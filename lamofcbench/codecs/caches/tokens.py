"""Which tensors a codec made for caches codes by its own rule, and which of them stand side by side."""

from __future__ import annotations

from lamofcbench.codecs.transform.rows import RowGroup, row_dims
from lamofcbench.scenarios.base import Axis, FeatureSpecs, TensorSpec

TOKEN_ROLES = ("key", "value", "hidden", "embedding")
LEAST_WIDTH = 16
"""Tokens of fewer channels say too little about each other, and pay too much for scales of their own."""


def is_of_tokens(spec: TensorSpec) -> bool:
    """True for keys, values, hidden states and embeddings, the rows of which are tokens or patches of some width."""
    return spec.role in TOKEN_ROLES and len(row_dims(spec)) > 0 and _row_group([spec]).width >= LEAST_WIDTH


def token_groups(specs: FeatureSpecs) -> list[RowGroup]:
    """The tensors of tokens, those of one role and with the same rows side by side: all layers and heads of keys, say.

    In the order of their first tensors.
    """
    groups: dict[tuple[str, tuple[int | Axis, ...]], list[TensorSpec]] = {}
    for spec in filter(is_of_tokens, specs.tensors):
        groups.setdefault((spec.role, tuple(spec.shape[d] for d in row_dims(spec))), []).append(spec)
    return [_row_group(members) for members in groups.values()]


def stored_rows(spec: TensorSpec) -> RowGroup:
    """A tensor by itself, keys as caches hold them: with their rotary embedding."""
    return _row_group([spec.model_copy(update={"rotary_base": None})])


def other_specs(specs: FeatureSpecs) -> FeatureSpecs | None:
    """The specs of all tensors but those of tokens, without side information; None where there are none."""
    others = tuple(spec for spec in specs.tensors if not is_of_tokens(spec))
    return FeatureSpecs(tensors=others) if others else None


def _row_group(members: list[TensorSpec]) -> RowGroup:
    return RowGroup(tuple(members), tuple(members[0].shape[d] for d in row_dims(members[0])))
