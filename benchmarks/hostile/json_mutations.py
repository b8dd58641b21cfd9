"""Ways to damage a JSON document: a node replaced by an odd value, removed, doubled or moved."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

NESTED, HUGE, SURROGATE = "@nested@", "@huge@", "@surrogate@"
_TEXT_OF = {
    NESTED: "[" * 200_000 + "]" * 200_000,
    HUGE: "9" * 5000,
    SURROGATE: '"\\ud800"',
}
"""What Python's writer of JSON cannot write, or not fast: put in after the document has become text."""

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 1.5, -0.0, 1e308, float("nan"),
    float("inf"), "", " ", "0", "\n", "two\nlines", "\0", "../../etc/passwd", "/etc/passwd", "__metadata__",
    "x" * 100_000,     "\u202eabc", [], {}, [[]], {"": {}}, [None] * 1000, NESTED, HUGE, SURROGATE,
)  # fmt: skip


def mutate_json(text: bytes, random: Random) -> bytes:
    """The document with one or two nodes changed, as bytes; bytes that are no JSON come back as they are."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for _ in range(random.randint(1, 2)):
        document = _changed(copy.deepcopy(document), random)
    written = json.dumps(document)
    for placeholder, value in _TEXT_OF.items():
        written = written.replace(json.dumps(placeholder), value)
    return written.encode()


def _changed(document: Any, random: Random) -> Any:
    nodes = list(_nodes(document))
    if not nodes or random.random() < 0.02:
        return random.choice(ODD_VALUES)
    parent, key = random.choice(nodes)
    kind = random.random()
    if kind < 0.6:
        parent[key] = random.choice(ODD_VALUES)
    elif kind < 0.75:
        del parent[key]
    elif kind < 0.85:
        other, other_key = random.choice(nodes)
        parent[key] = copy.deepcopy(other[other_key])
    elif isinstance(parent, dict):
        parent[random.choice(("", "extra", "__metadata__", "__class__"))] = random.choice(ODD_VALUES)
    else:
        parent.insert(key, copy.deepcopy(parent[key]))
    return document


def _nodes(document: Any) -> Any:
    """Parent and key of every node but the root."""
    pending = [document]
    while pending:
        parent = pending.pop()
        keys = parent.keys() if isinstance(parent, dict) else range(len(parent)) if isinstance(parent, list) else ()
        for key in keys:
            yield parent, key
            pending.append(parent[key])
