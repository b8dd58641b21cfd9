"""Which rotary embeddings can be split: those whose frequencies no other sequence of a batch changes."""

from __future__ import annotations

from torch import nn

from lamofcbench.errors import ScenarioError


def require_fixed_rotary(model: nn.Module) -> None:
    """Refuses a model whose rotary frequencies change with the longest sequence of a batch.

    There a prompt gets other tokens beside a longer one than alone, in transformers' own ``generate`` as well, and keys
    in a cache were rotated by other frequencies than new ones. The dynamic kind even depends on the calls before.

    Args:
        model: of transformers, whose rotary embeddings say their ``rope_type``, or one for each type of layer.

    Raises:
        ScenarioError: naming the type.
    """
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        for kind in kinds.values() if isinstance(kinds, dict) else [kinds]:
            if isinstance(kind, str) and ("dynamic" in kind or kind == "longrope"):
                raise ScenarioError(
                    f"{type(model).__name__} changes its rotary frequencies with the longest sequence of a batch (rope "
                    f"type {kind!r}), so that its tokens depend on the batch; it can be split with fixed scaling, such "
                    "as yarn, linear or llama3"
                )
