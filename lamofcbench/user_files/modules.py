"""Runs a user's file, and the modules of its folder that it imports, from the bytes that were hashed.

The files become the modules of a package that exists in memory alone and whose name carries a digest of their content
and place, so modules of two folders, or two versions of one, never stand in for each other. Relative imports work by
themselves; absolute ones of the folder's own names are led into that package by an ``__import__`` of each module's own.
Nothing is read from disk again, however late an import runs, and ``sys.path`` and ``sys.meta_path`` stay as they are.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import linecache
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from lamofcbench.errors import PluginError
from lamofcbench.user_files.closure import PACKAGE_FILE, PROJECT, SourceTree, installed_folders, owns

LOGGER = logging.getLogger("lamofcbench")
PREFIX = "_lamofcbench_file_"
LONGEST_ERROR = 400


@dataclass
class _Package:
    """A source tree as a package in memory."""

    tree: SourceTree
    main_path: Path
    name: str = ""
    owned: dict[tuple[str, str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stem = self.tree.main.removesuffix(".py")
        module = stem if stem.isidentifier() else "_main_" + re.sub(r"\W", "_", stem)
        self.main_module = "" if self.tree.main == PACKAGE_FILE else module
        told_apart_by = f"{self.main_path.parent}\0{self.tree.digest}".encode(errors="surrogatepass")
        self.name = f"{PREFIX}{module}_{hashlib.sha256(told_apart_by).hexdigest()[:16]}"

    @property
    def main_name(self) -> str:
        """The full name of the main file's module."""
        return f"{self.name}.{self.main_module}".rstrip(".")

    def path_of(self, file: str) -> Path:
        """What ``__file__`` says of a file of the tree."""
        return self.main_path if file == self.tree.main else self.main_path.parent / file

    def file_of(self, module: str) -> str | None:
        """The relative name of a module's file; ``""`` for a package without one, None for no module."""
        if module == self.main_module:
            return self.tree.main
        path = module.replace(".", "/")
        for name in (f"{path}/{PACKAGE_FILE}", f"{path}.py") if path else (PACKAGE_FILE,):
            if self.tree.has(name):
                return name
        return "" if not path or self.tree.has_folder(path) else None


_PACKAGES: dict[str, _Package] = {}
_WARNED: set[tuple[str, str]] = set()


def run_tree(tree: SourceTree, path: Path) -> ModuleType:
    """The module of a tree's main file, run once for each content and place.

    Args:
        tree: what runs.
        path: of the main file, which ``__file__`` and tracebacks name; nothing is read from there.

    Raises:
        PluginError: in one line, if it fails to import.
    """
    package = _Package(tree, path)
    if package.name in _PACKAGES and package.main_name in sys.modules:
        return sys.modules[package.main_name]
    _PACKAGES[package.name] = package
    before = set(sys.modules)
    try:
        with _findable():
            module = importlib.import_module(package.main_name)
    except (Exception, SystemExit) as error:
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{package.name}.")]:
            del sys.modules[name]
        del _PACKAGES[package.name]
        raise PluginError(_failure(package, error)) from error
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and not name.startswith(package.name) and Path(file).is_relative_to(path.parent):
            _warn_of_outside(package, tree.main, name)
    return module


def tree_of(plugin: Any) -> SourceTree | None:
    """The source tree that a class, function, module or instance was loaded from; None for what is installed."""
    package = _package_of(plugin)
    return None if package is None else package.tree


def sources_of(plugin: Any) -> Mapping[str, bytes] | None:
    """The sources of the user's files that a class or function was loaded from; None for what is installed.

    Returns:
        Relative POSIX names to contents: what was hashed and run, even if the files have changed since.
    """
    tree = tree_of(plugin)
    return None if tree is None else tree.files


def attribute_of(plugin: type) -> str:
    """The name under which the main file of a user's class holds it, which is not always the class's own name."""
    package = _package_of(plugin)
    held = {} if package is None else vars(sys.modules[package.main_name])
    if held.get(plugin.__name__) is plugin:
        return plugin.__name__
    return min((name for name, value in held.items() if value is plugin), default=plugin.__name__)


def _package_of(plugin: Any) -> _Package | None:
    module = plugin.__name__ if isinstance(plugin, ModuleType) else getattr(plugin, "__module__", None)
    return _PACKAGES.get(str(module).partition(".")[0])


# ------------------------------------------------------------------------------------------------------ importing


class _Finder(MetaPathFinder):
    """Finds the modules of the packages in memory, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, _, module = fullname.partition(".")
        package = _PACKAGES.get(top)
        file = None if package is None else package.file_of(module)
        if package is None or file is None:
            return None
        is_package = not file or file.endswith(PACKAGE_FILE)
        loader = _Loader(package, file)
        if not file:
            return ModuleSpec(fullname, loader, is_package=True)
        spec = importlib.util.spec_from_file_location(fullname, package.path_of(file), loader=loader)
        if spec is not None:
            # Empty: the folder on disk, which is what Python would put there, holds files that nobody hashed.
            spec.submodule_search_locations = [] if is_package else None
        return spec


_FINDER = _Finder()
_FINDER_LOCK = threading.Lock()
_finder_uses = 0


@contextlib.contextmanager
def _findable() -> Iterator[None]:
    """Lets Python find the modules in memory, for as long as one of them is being imported."""
    global _finder_uses
    with _FINDER_LOCK:
        _finder_uses += 1
        if _finder_uses == 1:
            sys.meta_path.append(_FINDER)
    try:
        yield
    finally:
        with _FINDER_LOCK:
            _finder_uses -= 1
            if not _finder_uses:
                sys.meta_path.remove(_FINDER)


class _Loader(InspectLoader):
    """Runs one file of a package in memory; a package without a file is empty."""

    def __init__(self, package: _Package, file: str) -> None:
        self.package, self.file = package, file

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.package.tree.files[self.file]) if self.file else ""

    def get_code(self, fullname: str) -> CodeType:
        # Bytes, not text, so that Python itself sees the encoding that the file declares.
        source = self.package.tree.files[self.file] if self.file else b""
        return compile(source, str(self.package.path_of(self.file)), "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        return not self.file or self.file.endswith(PACKAGE_FILE)

    def exec_module(self, module: ModuleType) -> None:
        code = self.get_code(module.__name__)
        own_import = functools.partial(_import, self.package, self.file)
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": own_import}
        if self.file:
            # Tracebacks and `inspect` show what runs; without a time, linecache does not look at the disk again.
            lines = [f"{line}\n" for line in self.get_source(module.__name__).split("\n")]
            linecache.cache[code.co_filename] = (sum(map(len, lines)), None, lines, code.co_filename)
        exec(code, module.__dict__)


def _import(
    package: _Package,
    importer: str,
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> Any:
    """``__import__`` of one module: the folder's own names lead into the package in memory."""
    if level:
        with _findable():
            return builtins.__import__(name, globals, locals, fromlist, level)
    top = name.partition(".")[0]
    seen = (importer, top) in package.owned
    if not seen:
        package.owned[importer, top] = owns(package.tree, top, importer)
    if not package.owned[importer, top]:
        found = builtins.__import__(name, globals, locals, fromlist, 0)
        if not seen:
            _warn_of_outside(package, importer, top)
        return found
    with _findable():
        if fromlist:
            return builtins.__import__(f"{package.name}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{package.name}.{name}")
    return sys.modules[f"{package.name}.{top}"]  # what `import a.b` binds is a


# --------------------------------------------------------------------------------------------------- what is said


def _failure(package: _Package, error: BaseException) -> str:
    """One line: which file fails, how, and where, without the name of the package in memory."""
    kind = type(error).__name__
    text = " ".join(str(error).replace(f"{package.name}.", "").split())[:LONGEST_ERROR]
    where = ""
    files = {str(package.path_of(name)): name for name in package.tree.files}
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename in files:
            where = f" ({files[frame.filename]}, line {frame.lineno})"
    return f"{package.main_path} fails to import: {kind}{': ' if text else ''}{text}{where}"


def _warn_of_outside(package: _Package, importer: str, top: str) -> None:
    """Says that a module is neither hashed nor installed: its edits change figures and nobody notices."""
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is None or top in sys.stdlib_module_names or top.partition(".")[0] in PROJECT:
        return
    if (package.tree.main, file) in _WARNED:
        return  # a codec is loaded again from each folder that it is saved in
    _WARNED.add((package.tree.main, file))
    if not any(Path(file).is_relative_to(folder) for folder in installed_folders()):
        LOGGER.warning(
            "%s imports %s from %s, neither a statement's module of its folder nor an installed package: edits are not "
            "noticed",
            package.path_of(importer),
            top,
            file,
        )
