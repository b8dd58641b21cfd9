"""Where the weights stand, and how training writes them: whole files that everybody may read."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lamofcbench.atomic import replacing, temporary_beside, write_text

WEIGHTS = Path(__file__).resolve().parent / "weights"
READABLE = 0o644  # safetensors makes files that only their owner may read


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and renames it over `path` when the block ends without an error."""
    with replacing(path) as temporary:
        yield temporary
        temporary.chmod(READABLE)


@contextmanager
def replace_files(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder inside `folder`, and moves its files over when the block ends without an error."""
    with temporary_beside(folder / "files") as temporary:
        temporary.mkdir()
        yield temporary
        for path in sorted(temporary.iterdir()):
            path.chmod(READABLE)
            path.replace(folder / path.name)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a mapping as indented JSON in one atomic step."""
    write_text(path, json.dumps(value, indent=2) + "\n")
