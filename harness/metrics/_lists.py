"""Lists of phrases that a metric judges by, from a file that the user names, and how results tell which list it was."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from lamofcbench.errors import DataError, ScenarioError, shown

MAX_BYTES = 2**20

Listed: TypeAlias = "str | Sequence[str]"
"""A list, or the path of its file."""


def read_list(listed: Listed, what: str) -> tuple[str, ...]:
    """The texts of a list, in their order.

    Args:
        listed: the texts themselves, or a file: ``.json`` (an array of strings), ``.py`` (the longest list of strings
            that it writes out; nothing of it runs), or text with a phrase a line.
        what: names the list in messages.

    Raises:
        ScenarioError: if it is no list of texts, or is empty.
        DataError: if the file cannot be read.
    """
    texts = _read(Path(listed), what) if isinstance(listed, str) else listed
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) and text for text in texts):
        raise ScenarioError(f"{what}: {shown(listed)} is no list of texts, none of them empty")
    if not texts:
        raise ScenarioError(f"{what}: {shown(listed)} is empty")
    return tuple(texts)


def list_identity(what: str, texts: Sequence[str]) -> str:
    """Which list it is, as part of a metric's identity.

    Example:
        >>> list_identity("phrases", ["no", "never"])
        'phrases:2#0507bb204f4b52ad'
    """
    return f"{what}:{len(texts)}#{hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]}"


def _read(path: Path, what: str) -> object:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{what}: {path} is larger than {MAX_BYTES} bytes, which is no list of phrases")
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text)
        if path.suffix == ".py":
            return _longest_list(ast.parse(text))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(f"{what}: cannot read {path}: {type(error).__name__}: {error}") from error
    return [line for line in (line.strip() for line in text.splitlines()) if line]


def _longest_list(tree: ast.AST) -> list[str]:
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.List, ast.Tuple)):
            values = [one.value for one in node.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if len(values) == len(node.elts) and len(values) > len(found):
                found = values
    return found
