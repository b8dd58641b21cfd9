"""Numbered folders with a file that nobody wrote so: saved codecs, and manifests, indices and shards of datasets."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol, TypeVar

T = TypeVar("T")
Files = Mapping[str, bytes]
"""The content of a folder by relative path."""


class Template(Protocol):
    """An honest folder, how its files are damaged, and what reads it.

    Attributes:
        files: of the honest folder.
        readers: names of the ways to read it, with how often each is taken.
    """

    files: Files
    readers: Mapping[str, float]

    def damage(self, random: Random) -> tuple[str, Files]:
        """What was done, and the files after it."""

    def read(self, folder: Path, reader: str) -> str | None:
        """Reads the folder in one way; None, or what is wrong with the result."""


@dataclass(frozen=True)
class FilesCase:
    """A damaged folder."""

    in_process = True

    kind: str
    template: Template
    files: Files
    reader: str

    def describe(self) -> str:
        """What it is, in one line."""
        return f"{self.kind}, read by {self.reader}"

    def run(self) -> str | None:
        """Reads the folder, which is written first and removed after it.

        Raises:
            Exception: what reading raises.
        """
        return _read(self.template, self.files, self.reader)

    def honest_run(self) -> Callable[[], object]:
        """Reading of the honest folder."""
        return lambda: _read(self.template, self.template.files, self.reader)


class FilesCases:
    """The cases of one target.

    Args:
        target: its name.
        seed: of all cases.
        templates: honest folders, with how often each is taken.
    """

    def __init__(self, target: str, seed: int, templates: Mapping[Template, float]) -> None:
        self._target, self._seed, self._templates = target, seed, dict(templates)

    def make(self, number: int) -> FilesCase:
        """The case of this number."""
        random = Random(f"{self._seed}/{self._target}/{number}")
        template = _drawn(self._templates, random)
        kind, files = template.damage(random)
        return FilesCase(kind, template, files, _drawn(template.readers, random))

    def honest(self) -> FilesCase:
        """A case that is to be read."""
        template = next(iter(self._templates))
        return FilesCase("honest", template, template.files, next(iter(template.readers)))


def cases_of_files(target: str, seed: int) -> FilesCases:
    """The cases of a target of files."""
    if target == "codec-folder":
        from benchmarks.hostile.codec_folders import codec_templates

        return FilesCases(target, seed, codec_templates())
    from benchmarks.hostile.datasets import DatasetTemplate

    return FilesCases(target, seed, {DatasetTemplate(target): 1})


def written(folder: Path) -> dict[str, bytes]:
    """The files of a folder that was made."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _drawn(weights: Mapping[T, float], random: Random) -> T:
    return random.choices(list(weights), list(weights.values()))[0]


def _read(template: Template, files: Files, reader: str) -> str | None:
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))  # a new name each time, since readers remember what they checked
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return template.read(folder, reader)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
