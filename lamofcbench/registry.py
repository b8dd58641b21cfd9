"""One registry for every kind of plugin: codecs, scenarios, split models, metrics, builders.

A plugin is found, in this order, by

1. ``path/to/file.py:NAME``: a name in a user's own file, with no registration;
2. the name of a built-in: every module of one package is scanned, so adding a plugin is adding a file;
3. an entry point of the kind's group, which another installed distribution declares. Its value may be the
   plugin itself or a module or package that holds several.

Two plugins of the same name are an error, whoever brings them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from lamofcbench.errors import PluginError, UnknownNameError, shown
from lamofcbench.identity import identity_of
from lamofcbench.user_files.closure import SourceTree, read_tree
from lamofcbench.user_files.modules import run_tree

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
    """The module of a user's own Python file, run once for each content of it and of the modules that it imports.

    It runs with the modules of its own folder that it imports; see `lamofcbench.user_files.closure` for what those are.

    Raises:
        PluginError: if the file is missing or fails to import.
    """
    tree, path = read_file(path)
    return run_tree(tree, path)


def read_file(path: Path) -> tuple[SourceTree, Path]:
    """What `load_file` would run: the sources as they are now, and where the file lies once links are followed.

    Raises:
        PluginError: if the file, or one that it imports, is missing or no Python.
    """
    resolved = path.resolve()
    if resolved.suffix != ".py":  # a link into a store that names files by their content
        resolved = path.parent.resolve() / path.name
    if not resolved.is_file():
        raise PluginError(f"no file {resolved}; a plugin in your own file is named path/to/file.py:NAME")
    return read_tree(resolved), resolved


class Registry(Generic[T]):
    """Finds the plugins of one kind by name.

    Args:
        kind: what messages call it, such as ``"codec"``.
        base: the class that a plugin is an instance of or, with ``classes=True``, a concrete subclass of.
        package: the package whose modules hold the built-ins; None where there are none.
        group: the entry-point group of plugins from other distributions; None where plugins are named by file alone.
        key: the attribute that holds a plugin's name.
        classes: True where plugins are classes, False where they are instances.
        listing: the command that lists the plugins; empty where none does.
    """

    def __init__(
        self,
        kind: str,
        base: type,
        *,
        package: str | None,
        group: str | None,
        key: str = "name",
        classes: bool = True,
        listing: str = "",
    ) -> None:
        self.kind, self.base, self.package, self.group = kind, base, package, group
        self.key, self.classes, self.listing = key, classes, listing
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
            if name.endswith(".py") and Path(name).is_file():
                raise PluginError(self._choice(name))
            entry_point = f", or entry point {self.group}" if self.group else ""
            own = f"(your own: path/to/file.py:NAME{entry_point})"
            raise UnknownNameError(self.kind, name, plugins, own, self.listing)
        return plugins[name]

    def _choice(self, file: str) -> str:
        """What to name in place of a file alone: the plugins that it holds."""
        module = load_file(Path(file))
        found = [name for name, value in vars(module).items() if self._is_plugin(value) and not name.startswith("_")]
        own = [name for name in found if not self.classes or getattr(module, name).__module__ == module.__name__]
        if not own:
            return f"{shown(file)} holds no {self.kind}; one is named as {shown(file + ':NAME')}"
        names = " or ".join(shown(f"{file}:{name}") for name in own)
        return f"{shown(file)} holds {len(own)} {self.kind}{'s' if len(own) > 1 else ''}; name {names}"

    def _from_file(self, path: Path, attribute: str) -> T:
        return self._held_by(load_file(path), path, attribute)

    def _held_by(self, module: ModuleType, path: Path, attribute: str) -> T:
        """The plugin of this name in the module of a user's file."""
        if not hasattr(module, attribute):
            known = [k for k, v in vars(module).items() if self._is_plugin(v)]
            raise UnknownNameError(f"{self.kind} in {path.name}:", attribute, known)
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
            entries = importlib.metadata.entry_points(group=self.group) if self.group else ()
            for entry in sorted(entries, key=lambda e: e.name):
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
            for plugin in found.values():
                if isinstance(plugin, type):
                    identity_of(plugin)  # taken now, while installed files are what was just imported
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
