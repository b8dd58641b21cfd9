"""The import statements of a Python source, wherever they stand in it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ImportStatement:
    """One module that a source imports.

    Attributes:
        level: the leading dots of a relative import; 0 for an absolute one.
        parts: the dotted name of the module; empty for ``from . import x``.
        names: what is imported from it; empty for ``import a.b``.
        line: where it stands.
        by_call: True for ``importlib.import_module("a.b")``, which no import statement of ours can redirect.
    """

    level: int
    parts: tuple[str, ...]
    names: tuple[str, ...]
    line: int
    by_call: bool = False


@functools.lru_cache(maxsize=1024)
def import_statements(source: bytes, filename: str) -> tuple[ImportStatement, ...]:
    """All imports of a source, those inside functions and conditions included.

    Calls of ``__import__`` and ``import_module`` count where the name stands there as text.

    Args:
        source: as it stands in the file, in whatever encoding it declares.
        filename: for the error.

    Raises:
        SyntaxError: if it is no Python.
    """
    return tuple(_statements(_parsed(source, filename)))


@functools.lru_cache(maxsize=1024)
def names_of_all(source: bytes, filename: str) -> tuple[str, ...]:
    """The names in a source's ``__all__``, which ``from package import *`` may have to import as modules."""
    found: list[str] = []
    for node in ast.walk(_parsed(source, filename)):
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        else:
            continue
        if node.value is not None and any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            found += [n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return tuple(found)


def _parsed(source: bytes, filename: str) -> ast.Module:
    try:
        return ast.parse(source, filename)
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nesting that the parser cannot follow
        raise SyntaxError(f"{error or 'too deeply nested'} ({filename})") from error


def _statements(tree: ast.Module) -> Iterator[ImportStatement]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield ImportStatement(0, tuple(alias.name.split(".")), (), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            parts = tuple(node.module.split(".")) if node.module else ()
            yield ImportStatement(node.level, parts, tuple(alias.name for alias in node.names), node.lineno)
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _called(node: ast.Call) -> Iterator[ImportStatement]:
    function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if function not in ("import_module", "__import__") or not node.args:
        return
    name = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
    if isinstance(name, str) and name.strip("."):
        level = len(name) - len(name.lstrip("."))
        yield ImportStatement(level, tuple(name[level:].split(".")), (), node.lineno, function == "import_module")
