"""Which files a user's own file consists of: itself, and the modules of its folder that it imports.

Names mean what they mean to a script, whose own folder comes before installed packages:

- ``helper.py`` and the package ``helper/`` win over an installed ``helper``; a folder without ``__init__.py`` loses to
  it. A file never finds itself under the name of an installed package.
- The names of the standard library and of this project (``lamofcbench``, ``dataset_builders``, ``harness``) are never
  the folder's.
- Relative imports start at the folder: ``from . import helper`` works at its top, too, and then runs the folder's own
  ``__init__.py`` if it has one.

All import statements count, those inside functions included, followed from file to file. What is found otherwise is no
part of the closure: a module whose name is computed at run time is not found, or found on ``sys.path``, with a warning
where that happens as the file is imported. A file among installed packages brings no modules: they are not its own.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import re
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lamofcbench.errors import PluginError
from lamofcbench.user_files.imports import ImportStatement, import_statements, names_of_all

PROJECT = ("lamofcbench", "dataset_builders", "harness")
"""The packages of this project, whose classes carry a revision instead of a hash."""

MAX_FILES = 512
MAX_BYTES = 16 * 2**20
PACKAGE_FILE = "__init__.py"


@dataclass(frozen=True)
class SourceTree:
    """The files that a user's own file consists of, read once.

    Attributes:
        main: the relative name of that file.
        files: relative POSIX names to contents, ``main`` among them.
    """

    main: str
    files: Mapping[str, bytes]

    @functools.cached_property
    def digest(self) -> str:
        """Hex sha256 over the names and contents of all files."""
        digest = hashlib.sha256(self.main.encode())
        for name in sorted(self.files):
            digest.update(f"\0{name}\0{len(self.files[name])}\0".encode())
            digest.update(self.files[name])
        return digest.hexdigest()

    def has(self, name: str) -> bool:
        """Whether it holds a file of this relative name."""
        return name in self.files

    def has_folder(self, name: str) -> bool:
        """Whether it holds a file below a folder of this relative name."""
        return any(file.startswith(f"{name}/") for file in self.files)


class Place(Protocol):
    """Where modules are looked up: a folder on disk, or the files that were read from one."""

    def has(self, name: str, /) -> bool:
        """Whether there is a file of this relative name."""

    def has_folder(self, name: str, /) -> bool:
        """Whether there is a folder of this relative name."""


def owns(place: Place, top: str, importer: str) -> bool:
    """Whether an absolute import of a top-level name means a module of the place.

    Args:
        place: where the importing file lies.
        top: the first part of the imported name.
        importer: the relative name of the importing file.
    """
    if top in sys.stdlib_module_names or top in PROJECT:
        return False
    if place.has(f"{top}/{PACKAGE_FILE}") or (place.has(f"{top}.py") and importer != f"{top}.py"):
        return True
    return (place.has(f"{top}.py") or place.has_folder(top)) and not _is_installed(top, importer)


def _is_installed(top: str, importer: str) -> bool:
    """Whether a module or regular package of this name is found without the importing file's folder."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # a module that is loaded without a spec
        return True
    return spec is not None and spec.origin is not None and Path(spec.origin).name != importer


def read_tree(path: Path) -> SourceTree:
    """A file and all modules of its folder that it imports, as they are now.

    Args:
        path: of the file, with no links in its folder's part.

    Raises:
        PluginError: naming the file that is missing, no Python, too large, or a link out of the folder.
    """
    return _Reader(path).read()


class _Reader:
    """Follows the imports of a file through its folder."""

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.parent
        self.is_installed = self.folder in installed_folders()
        self.files: dict[str, bytes] = {}
        self.total_bytes = 0

    def has(self, name: str) -> bool:
        return not self.is_installed and _is(Path.is_file, self.folder / name)

    def has_folder(self, name: str) -> bool:
        return not self.is_installed and _is(Path.is_dir, self.folder / name)

    def read(self) -> SourceTree:
        main = printable(self.path.name)
        self.files[main] = self._content(self.path)
        pending = list(self._imported(main))
        while pending:
            name = pending.pop()
            if name not in self.files:
                self.files[name] = self._content(self.folder / name)
                pending += self._imported(name)
        return SourceTree(main, dict(sorted(self.files.items())))

    def _content(self, path: Path) -> bytes:
        if path != self.path and not path.resolve().is_relative_to(self.folder):
            raise PluginError(
                f"{self.path} imports {path}, a link out of its folder; copy the file there, or install it as a package"
            )
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise PluginError(f"{path} cannot be read: {error.strerror or error}") from error
        self.total_bytes += len(content)
        if len(self.files) >= MAX_FILES or self.total_bytes > MAX_BYTES:
            raise PluginError(
                f"{self.path} imports more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB of its folder; "
                "install them as a package"
            )
        return content

    def _imported(self, importer: str) -> Iterator[str]:
        """The files of the folder that a file imports, those of parent packages included."""
        place = self.path if importer == printable(self.path.name) else self.folder / importer
        try:
            statements = import_statements(self.files[importer], place.name)
        except SyntaxError as error:
            raise PluginError(f"{place} fails to import: SyntaxError: {error}") from error
        for statement in statements:
            yield from self._targets(importer, statement, place)

    def _targets(self, importer: str, statement: ImportStatement, place: Path) -> Iterator[str]:
        base = statement.parts
        if statement.level:
            package = tuple(importer.split("/")[:-1])
            above = statement.level - 1
            if above > len(package):
                return  # beyond the folder; running it says so
            package = package[: len(package) - above]
            base = package + base
            if not package and self.has(PACKAGE_FILE):
                yield PACKAGE_FILE
        elif not owns(self, base[0], importer):
            return
        found = self._find(base)
        if statement.by_call and found:
            raise PluginError(
                f"{place}, line {statement.line}: import_module looks for {found[-1]} where nothing is hashed; write "
                "an import statement, inside a function if need be"
            )
        yield from found
        for name in statement.names:
            if name != "*":
                yield from self._find((*base, name))
            elif found and found[-1].endswith(PACKAGE_FILE):
                for listed in names_of_all(self._content_of(found[-1]), found[-1]):
                    yield from self._find((*base, listed))

    def _content_of(self, name: str) -> bytes:
        return self.files[name] if name in self.files else self._content(self.folder / name)

    def _find(self, parts: tuple[str, ...]) -> list[str]:
        """The files that importing a dotted name runs: its packages', and its own."""
        found: list[str] = []
        folder = ""
        for part in parts:
            if not part.isidentifier():
                return found
            if self.has(f"{folder}{part}/{PACKAGE_FILE}"):
                found.append(f"{folder}{part}/{PACKAGE_FILE}")
            elif self.has(f"{folder}{part}.py"):
                return [*found, f"{folder}{part}.py"]
            elif not self.has_folder(f"{folder}{part}"):
                return found  # the rest is an attribute
            folder = f"{folder}{part}/"
        return found


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    try:
        return kind(path)
    except OSError:  # a name that no file system takes
        return False


@functools.lru_cache(maxsize=1)
def installed_folders() -> tuple[Path, ...]:
    """The folders of the standard library and of installed packages."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    getters: list[Callable[[], Any]] = [site.getsitepackages, lambda: [site.getusersitepackages()]]
    for getter in getters:
        with contextlib.suppress(AttributeError):  # virtual environments of old tools have another site module
            paths += getter()
    return tuple(dict.fromkeys(path for text in paths for path in (Path(text), Path(text).resolve())))


def printable(name: str) -> str:
    """A file's name with nothing in it that would break a line, an identity or a path.

    Example:
        >>> printable("my codec#2.py")
        'my-codec-2.py'
    """
    return re.sub(r"[^\w.-]+", "-", name)
