"""What ``run.json`` says about how results were made: facts that all runs share, and those in which they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_FACTS = 60
MAX_VALUES = 4
_PRIVATE = ("argv", "path", "host", "user", "cwd", "dir", "started", "finished", "time", "seconds", "pid", "sha256")
"""Parts of keys that describe the machine, the moment or the files rather than the measurement."""


def shared_facts(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Dotted key to value over all runs; where they differ, the values one after the other.

    Example:
        >>> shared_facts([{"commit": "1a", "versions": {"torch": "2"}}, {"commit": "2b", "versions": {"torch": "2"}}])
        {'commit': '1a, 2b', 'versions.torch': '2'}
    """
    values: dict[str, list[str]] = {}
    for run in runs:
        for key, value in _scalars(run):
            known = values.setdefault(key, [])
            if value not in known:
                known.append(value)
    facts = {}
    for key, known in list(values.items())[:MAX_FACTS]:
        more = len(known) - MAX_VALUES
        facts[key] = ", ".join(known[:MAX_VALUES]) + (f" and {more} more" if more > 0 else "")
    return facts


def _scalars(value: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and depth < 4:
        for key, inner in value.items():
            key = str(key)
            if not any(part in key.lower() for part in _PRIVATE):
                yield from _scalars(inner, f"{prefix}.{key}" if prefix else key, depth + 1)
    elif isinstance(value, (str, int, float, bool)) and prefix:
        yield prefix, str(value)[:200]
