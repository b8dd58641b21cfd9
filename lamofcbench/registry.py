"""One registry for every kind of plugin: codecs, scenarios, split models, metrics, builders.

A plugin is found, in this order, by

1. ``path/to/file.py:NAME``: a name in a user's own file, with no registration;
2. the name of a built-in: every module of one package is scanned, so adding a plugin is adding a file;
3. an entry point of the kind's group, which another installed distribution declares. Its value may be the
   plugin itself or a module or package that holds several.

Two plugins of the same name are an error, whoever brings them.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from lamofcbench.errors import PluginError, UnknownNameError

T = TypeVar("T")


def is_file_reference(name: str) -> bool:
    """True for ``some/file.py:NAME``, the way to name a plugin in a user's own file."""
    path, separator, attribute = name.rpartition(":")
    return bool(separator) and path.endswith(".py") and attribute.isidentifier()


def split_file_reference(name: str) -> tuple[Path, str]:
    """The file and the attribute of ``some/file.py:NAME``."""
    path, _, attribute = name.rpartition(":")
    return Path(path).expanduser(), attribute


def load_file(path: Path) -> ModuleType:
    """The module of a user's own Python file, imported once per content.

    The module's name carries a hash of path and content, so that two files of the same name, or two versions of one
    file, never stand in for each other.

    Raises:
        PluginError: if the file is missing or fails to import.
    """
    path = path.resolve()
    if not path.is_file():
        raise PluginError(f"no file {path}; a plugin in your own file is named path/to/file.py:NAME")
    source = path.read_bytes()
    digest = hashlib.sha256(str(path).encode() + b"\0" + source).hexdigest()[:12]
    name = f"_lamofcbench_file_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # true for every path that ends in .py
    module = importlib.util.module_from_spec(spec)
    module.__lamofcbench_source__ = source  # type: ignore[attr-defined]  # what was run, even if the file changes
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"{path} fails to import: {type(error).__name__}: {error}") from error
    return module


def source_of(plugin: Any) -> bytes | None:
    """The source of the user's file that a class or function was loaded from; None for installed plugins."""
    module = sys.modules.get(getattr(plugin, "__module__", ""))
    return getattr(module, "__lamofcbench_source__", None)


class Registry(Generic[T]):
    """Finds the plugins of one kind by name.

    Args:
        kind: what messages call it, such as ``"codec"``.
        base: the class that a plugin is an instance of or, with ``classes=True``, a concrete subclass of.
        package: the package whose modules hold the built-ins; None where all plugins come by entry point.
        group: the entry-point group of plugins from other distributions.
        key: the attribute that holds a plugin's name.
        classes: True where plugins are classes, False where they are instances.
    """

    def __init__(
        self, kind: str, base: type, *, package: str | None, group: str, key: str = "name", classes: bool = True
    ) -> None:
        self.kind, self.base, self.package, self.group, self.key, self.classes = (
            kind,
            base,
            package,
            group,
            key,
            classes,
        )
        self._found: dict[str, T] | None = None

    def names(self) -> list[str]:
        """The names of all built-in and installed plugins, sorted."""
        return sorted(self._plugins())

    def __iter__(self) -> Iterator[T]:
        plugins = self._plugins()
        return (plugins[name] for name in sorted(plugins))

    def get(self, name: str, *, relative_to: Path | None = None) -> T:
        """The plugin of this name.

        Args:
            name: a registered name, ``path/to/file.py:NAME``, or ``:NAME`` for a name in ``relative_to``.
            relative_to: the file in which the reference stands; relative paths start at its folder.

        Raises:
            UnknownNameError: if nothing is registered under the name; near matches are listed.
            PluginError: if the file or what it holds is not a plugin of this kind.
        """
        if relative_to is not None and name.startswith(":"):
            name = f"{relative_to}{name}"
        if is_file_reference(name):
            path, attribute = split_file_reference(name)
            if relative_to is not None and not path.is_absolute():
                path = relative_to.parent / path
            return self._from_file(path, attribute)
        plugins = self._plugins()
        if name not in plugins:
            raise UnknownNameError(
                self.kind, name, plugins, f"(your own: path/to/file.py:NAME, or entry point {self.group})"
            )
        return plugins[name]

    def _from_file(self, path: Path, attribute: str) -> T:
        module = load_file(path)
        if not hasattr(module, attribute):
            known = [k for k, v in vars(module).items() if self._is_plugin(v)]
            raise UnknownNameError(f"{self.kind} in {path.name}", attribute, known)
        plugin = getattr(module, attribute)
        if not self._is_plugin(plugin):
            noun = "a concrete subclass" if self.classes else "an instance"
            missing = sorted(getattr(plugin, "__abstractmethods__", ()))
            lacks = f"; it lacks {', '.join(missing)}" if missing else ""
            raise PluginError(f"{path.name}:{attribute} is not {noun} of {self.base.__name__}{lacks}")
        return plugin

    def _is_plugin(self, candidate: Any) -> bool:
        if not isinstance(getattr(candidate, self.key, None), str):
            return False  # the contract itself, which has no name
        if not self.classes:
            return isinstance(candidate, self.base)
        return inspect.isclass(candidate) and issubclass(candidate, self.base) and not inspect.isabstract(candidate)

    def _plugins(self) -> dict[str, T]:
        if self._found is None:
            found: dict[str, T] = {}
            if self.package is not None:
                self._add_from(found, importlib.import_module(self.package))
            for entry in sorted(importlib.metadata.entry_points(group=self.group), key=lambda e: e.name):
                try:
                    loaded = entry.load()
                except Exception as error:
                    raise PluginError(
                        f"entry point {entry.name} = {entry.value} of {self.group} fails: {error}"
                    ) from error
                if isinstance(loaded, ModuleType):
                    self._add_from(found, loaded)
                else:
                    self._add(found, loaded, entry.value)
            self._found = found
        return self._found

    def _add_from(self, found: dict[str, T], module: ModuleType) -> None:
        """Adds the plugins that a module, or each module of a package, defines itself (not those it imports)."""
        if hasattr(module, "__path__"):
            for info in sorted(pkgutil.iter_modules(module.__path__), key=lambda i: i.name):
                if not info.name.startswith("_"):
                    self._add_from(found, importlib.import_module(f"{module.__name__}.{info.name}"))
            return
        for attribute, value in vars(module).items():
            defined_here = not self.classes or getattr(value, "__module__", None) == module.__name__
            if not attribute.startswith("_") and defined_here and self._is_plugin(value):
                self._add(found, value, f"{module.__name__}:{attribute}")

    def _add(self, found: dict[str, T], plugin: Any, origin: str) -> None:
        if not self._is_plugin(plugin):
            raise PluginError(f"{origin} is not a {self.kind} (a {self.base.__name__})")
        name = getattr(plugin, self.key)
        if found.get(name, plugin) is not plugin:
            raise PluginError(f"two {self.kind}s are named {name!r}; one of them is {origin}")
        found[name] = plugin
