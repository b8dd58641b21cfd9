"""Rotary embeddings: which can be split, and whether a scenario states the right ones."""

from __future__ import annotations

from typing import Any

from torch import nn

from lamofcbench.errors import ScenarioError
from lamofcbench.scenarios.base import Scenario


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


def require_declared_rotary(model: Any, scenario: Scenario) -> None:
    """Refuses a scenario whose keys state another rotary base than the model has.

    Args:
        model: of transformers, whose ``config.rope_parameters`` say how keys are rotated.
        scenario: whose tensors may have a ``rotary_base``.

    Raises:
        ScenarioError: naming the first tensor with a base that is not the model's.
    """
    declared = [spec for spec in scenario.tensors if spec.rotary_base is not None]
    if not declared:
        return
    rotary, base = _rotary_of(model.config), rotary_base_of(model.config)
    for spec in declared:
        if spec.rotary_base != base:
            raise ScenarioError(
                f"scenario {scenario.id!r}: tensor {spec.name!r} has rotary_base {spec.rotary_base}, but the keys of "
                f"{type(model).__name__} are rotated "
                + (f"with base {base}" if base is not None else f"in another way ({rotary}); leave it out")
            )


def rotary_base_of(config: Any) -> float | None:
    """The base of a model's rotary angles, as `TensorSpec.rotary_base` has it; None where keys are rotated otherwise.

    None it is for scaled frequencies (rope types llama3, linear and yarn) and partial rotary embeddings: codecs do not
    turn such keys back, but code them as they are.

    Args:
        config: of transformers, whose ``rope_parameters`` say how keys are rotated.
    """
    rotary = _rotary_of(config)
    plain = rotary.get("rope_type", "default") == "default" and rotary.get("partial_rotary_factor", 1.0) == 1.0
    return float(rotary["rope_theta"]) if plain and "rope_theta" in rotary else None


def _rotary_of(config: Any) -> dict[str, Any]:
    return dict(getattr(config, "rope_parameters", None) or {})
