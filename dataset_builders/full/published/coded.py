"""What a published codec said of a sample that it coded and decoded: its rate and its error, without the bitstream."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FIGURES = ("bpfp", "ebpfp", "mse")
NAMES = ("arch", "handler")
STRINGS = "enc_strings"
MAX_NODES = 100_000


def coding_facts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of one sample, as JSON has them.

    Args:
        metadata: of the published file; what it does not say is None.

    Returns:
        ``arch`` and ``handler``; ``bpfp``, ``ebpfp`` and ``mse`` by their codec; ``payload_bytes``, the sum of all
        coded strings, which is what the published rates count.
    """
    facts: dict[str, Any] = {name: _text(metadata.get(name)) for name in NAMES}
    facts.update((name, _number(metadata.get(name))) for name in FIGURES)
    facts["payload_bytes"] = _payload_bytes(metadata)
    return facts


def _text(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) else None


def _number(value: Any) -> Any:
    """A finite number, or a dict or list of such; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {
            str(key): _number(item) for key, item in list(value.items())[:1000] if not isinstance(item, dict | list)
        }
    if isinstance(value, list | tuple):
        return [_number(item) for item in value[:1000] if not isinstance(item, dict | list | tuple)]
    return None


def _payload_bytes(metadata: Mapping[str, Any]) -> int | None:
    """The bytes under every ``enc_strings``, at whatever depth; None where there is none."""
    waiting: list[tuple[Any, bool]] = [(metadata, False)]
    total, found = 0, False
    for _ in range(MAX_NODES):
        if not waiting:
            break
        node, coded = waiting.pop()
        if isinstance(node, bytes):
            total, found = total + len(node) * coded, found or coded
        elif isinstance(node, dict):
            waiting += [(item, coded or key == STRINGS) for key, item in node.items()]
        elif isinstance(node, list | tuple):
            waiting += [(item, coded) for item in node]
    return total if found else None
