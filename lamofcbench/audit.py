"""What reading every byte of a folder brings to light: the counts, what is damaged, and what is merely odd."""

from __future__ import annotations

import hashlib
import json
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lamofcbench.errors import LaMoFCBenchError, first_line, one_line

MAX_LINES_A_FILE = 20
"""Of one file no more is listed: the first lines tell as much as a thousand."""
MAX_JSON_BYTES = 2**26
_PIECE_BYTES = 2**20


@dataclass(frozen=True)
class Finding:
    """One line: a file, and what is to be said of it."""

    path: Path
    what: str

    def __str__(self) -> str:
        """The line, in which the file stands once."""
        return self.what if str(self.path) in self.what else f"{one_line(str(self.path), 500)}: {self.what}"


@dataclass
class Audit:
    """Reads files on behalf of the checks of a folder, and collects what they find.

    Attributes:
        advance: called with the number of bytes, as they are read.
        files: how many files were read.
        bytes_read: how many bytes they hold together.
        damage: what is wrong, in the order in which it was found.
        notes: what is odd but harms nothing.
    """

    advance: Callable[[int], Any] = lambda count: None
    files: int = 0
    bytes_read: int = 0
    damage: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    _lines: Counter[Path] = field(default_factory=Counter)

    @property
    def damaged_files(self) -> int:
        """How many files have something wrong with them."""
        return len({finding.path for finding in self.damage})

    def damaged(self, path: Path, what: str) -> None:
        """Adds a damage."""
        self._lines[path] += 1
        if self._lines[path] <= MAX_LINES_A_FILE:
            self.damage.append(Finding(path, what))
        elif self._lines[path] == MAX_LINES_A_FILE + 1:
            self.damage.append(Finding(path, "and more of the kind"))

    def note(self, path: Path, what: str) -> None:
        """Adds a note."""
        self.notes.append(Finding(path, what))

    @contextmanager
    def checking(self, path: Path) -> Iterator[None]:
        """Records an error of the block as damage of a file, and goes on after it."""
        try:
            yield
        except LaMoFCBenchError as error:
            self.damaged(path, one_line(str(error), 500))
        except OSError as error:
            self.damaged(path, f"cannot be read: {error.strerror or first_line(error)}")

    def count(self, size_bytes: int) -> None:
        """Counts a file that was read elsewhere."""
        self.files += 1
        self.bytes_read += size_bytes
        self.advance(size_bytes)

    def sha256(self, path: Path) -> str | None:
        """Hex sha256 of a file, every byte of which is read; None for one that cannot be read, which is damage."""
        if not self.is_regular(path):
            return None
        digest = hashlib.sha256()
        self.files += 1
        with self.checking(path):
            with path.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    digest.update(piece)
                    self.bytes_read += len(piece)
                    self.advance(len(piece))
            return digest.hexdigest()
        return None

    def json(self, path: Path) -> Any:
        """What a JSON file holds; None for one that cannot be read, which is damage."""
        if not self.is_regular(path):
            return None
        self.files += 1
        with self.checking(path):
            with path.open("rb") as file:
                text = file.read(MAX_JSON_BYTES + 1)
            self.bytes_read += len(text)
            self.advance(len(text))
            if len(text) > MAX_JSON_BYTES:
                self.damaged(path, f"is larger than {MAX_JSON_BYTES} bytes")
                return None
            try:
                return json.loads(text)
            except (ValueError, RecursionError) as error:
                self.damaged(path, f"is no JSON: {first_line(error)}")
        return None

    def is_regular(self, path: Path) -> bool:
        """True for a file that can be read to its end; anything else, such as a pipe or nothing at all, is damage."""
        with self.checking(path):
            if stat.S_ISREG(path.stat().st_mode):
                return True
            self.damaged(path, "is no regular file")
        return False
