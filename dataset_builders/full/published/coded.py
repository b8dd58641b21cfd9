"""What a published codec said of a sample that it coded and decoded: its rate and its error, without the bitstream."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NAMES = ("arch", "handler", "strategy", "transform_type")
FIGURES = ("bit_depth", "bpfp", "ebpfp", "mse")
TENSOR_FIGURES = ("ori_numel", "ori_bytes", "enc_bytes", "quant_mse", "final_mse")
STRINGS = "enc_strings"
MAX_TENSORS = 1000
MAX_STRINGS = 100_000


def coding_facts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of one sample, as JSON has them; None for what the file does not say.

    Args:
        metadata: of the published file: names and figures of the sample, and a dict for each tensor.

    Returns:
        `NAMES` and `FIGURES` as they are; ``payload_bytes``, the sum of what the tensors' coded strings take, which is
        all that the published rates count; ``tensors``, their `TENSOR_FIGURES` by the published names.
    """
    facts: dict[str, Any] = {name: _text(metadata.get(name)) for name in NAMES}
    facts.update((name, _number(metadata.get(name))) for name in FIGURES)
    parts = {str(name): part for name, part in metadata.items() if isinstance(part, dict)}
    tensors = {name: _of_tensor(parts[name]) for name in list(parts)[:MAX_TENSORS]}
    sizes = [tensor["enc_bytes"] for tensor in tensors.values()]
    facts["payload_bytes"] = None if not sizes or None in sizes else sum(sizes)
    return {**facts, "tensors": tensors}


def _of_tensor(part: Mapping[str, Any]) -> dict[str, Any]:
    figures = {name: _number(part.get(name)) for name in TENSOR_FIGURES}
    if figures["enc_bytes"] is None and STRINGS in part:
        figures["enc_bytes"] = _string_bytes(part[STRINGS])
    return figures


def _text(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) else None


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 2**63:
        return None
    return value if math.isfinite(value) else None


def _string_bytes(strings: Any) -> int | None:
    """The bytes of coded strings, which are lists of lists of them; None where they are too many to count."""
    waiting, total = [strings], 0
    for _ in range(MAX_STRINGS):
        if not waiting:
            return total
        node = waiting.pop()
        if isinstance(node, bytes):
            total += len(node)
        elif isinstance(node, list | tuple):
            waiting += node[:MAX_STRINGS]
    return None
