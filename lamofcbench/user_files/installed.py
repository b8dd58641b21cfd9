"""The code of installed distributions: which one a class comes from, and a hash of the Python files that it brings."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

ENTRY_POINTS = "lamofcbench."
"""How the entry-point groups of plugins begin."""


@dataclass(frozen=True)
class InstalledCode:
    """A distribution and its code.

    Attributes:
        name: normalised, as package indices compare names.
        version: as the distribution states it.
        digest: hex sha256 over relative names and contents of its Python files.
    """

    name: str
    version: str
    digest: str


_KNOWN: WeakKeyDictionary[type, InstalledCode | None] = WeakKeyDictionary()


def installed_code(plugin: type) -> InstalledCode | None:
    """The distribution that a class comes from; None for a class that is in no installed distribution.

    An editable installation is found by its entry points, or by the top-level names that it declares. The files are
    read once for a class, whose code stays what it was when it was imported.
    """
    if plugin not in _KNOWN:
        _KNOWN[plugin] = _read(plugin)
    return _KNOWN[plugin]


def _read(plugin: type) -> InstalledCode | None:
    root = _root_module(plugin.__module__)
    if root is None:
        return None
    distribution = _by_entry_point(root) or _by_files(root)
    if distribution is None:
        return None
    files = dict(_files(distribution, root))
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode(errors="surrogatepass"))
        digest.update(content)
    name = re.sub(r"[-_.]+", "-", str(distribution.metadata["Name"])).lower()
    return InstalledCode(name, distribution.version, digest.hexdigest())


def _root_module(module: str) -> str | None:
    """The outermost regular package of a module, or the module; None for a module of no file, and for a program."""
    if module == "__main__":
        return None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        if getattr(sys.modules.get(name), "__file__", None):
            return name
    return None


def _by_entry_point(root: str) -> importlib.metadata.Distribution | None:
    for distribution in importlib.metadata.distributions():
        for entry in distribution.entry_points:
            target = entry.value.partition(":")[0].strip()
            if entry.group.startswith(ENTRY_POINTS) and f"{target}.".startswith(f"{root}."):
                return distribution
    return None


@functools.lru_cache(maxsize=4)
def _distributions_of(search_path: tuple[str, ...]) -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _by_files(root: str) -> importlib.metadata.Distribution | None:
    """The distribution that brings a top-level name, if what is imported is what it brought and no namesake."""
    top = root.partition(".")[0]
    file = Path(str(sys.modules[root].__file__))
    for name in dict.fromkeys(_distributions_of(tuple(sys.path)).get(top, ())):
        if not name:
            continue  # a damaged installation
        distribution = importlib.metadata.distribution(name)
        site = Path(str(distribution.locate_file("")))
        is_copied = (site / top).exists() or (site / f"{top}.py").exists()
        if not is_copied or file.is_relative_to(site):
            return distribution
    return None


def _files(distribution: importlib.metadata.Distribution, root: str) -> Iterator[tuple[str, Path]]:
    """The Python files of a distribution by relative name: those it lists, and those its packages hold now."""
    for listed in distribution.files or ():
        path = Path(str(distribution.locate_file(listed)))
        # Listed without being code of the plugin: what an editable installation puts there, and scripts.
        is_code = listed.suffix == ".py" and ".." not in listed.parts and not listed.name.startswith("__editable__")
        if is_code and path.is_file():
            yield listed.as_posix(), path
    declared = (distribution.read_text("top_level.txt") or "").split()
    for name in dict.fromkeys([root, *declared]):
        yield from _module_files(name)


def _module_files(name: str) -> Iterator[tuple[str, Path]]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return
    if spec is None or spec.origin is None:
        return  # a namespace that other distributions share
    place = name.replace(".", "/")
    if spec.submodule_search_locations is None:
        yield f"{place}.py", Path(spec.origin)
        return
    for location in spec.submodule_search_locations:
        for folder, _, files in os.walk(location):
            for file in files:
                path = Path(folder, file)
                if path.suffix == ".py" and path.is_file():
                    yield f"{place}/{path.relative_to(location).as_posix()}", path
