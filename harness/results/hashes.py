"""The hashes of a finished result's files, by which `lamofcbench verify` finds what has rotted.

They stand in ``run.json``, the one file that may differ from run to run. Bitstreams have no hash there: each ends in a
checksum of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lamofcbench.atomic import json_text
from lamofcbench.storage.integrity import file_sha256
from lamofcbench.storage.layout import json_checksum

HASHES = "sha256"
RUN_FILE = "run.json"


def json_sha256(value: Any) -> str:
    """Hex sha256 of the file that holds a value as `json_text`."""
    return hashlib.sha256(json_text(value).encode()).hexdigest()


def hashes_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Hex sha256 of files by their relative path; of a folder among the names, of every file in it."""
    roots = [folder / name for name in names]
    paths = sorted(path for root in roots for path in (root, *root.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}


def sealed(run: Mapping[str, Any], hashes: Mapping[str, str]) -> dict[str, Any]:
    """What ``run.json`` holds: facts of the run, and the hashes of all files, its own among them (`_own_hash`)."""
    content = json.loads(json_text({**run, HASHES: dict(hashes)}))
    content[HASHES][RUN_FILE] = _own_hash(content)
    return content


def recorded(run: Any) -> dict[str, str] | None:
    """The hashes of the other files that ``run.json`` holds; None where an older version wrote it.

    Raises:
        ValueError: if its own hash is not that of its content.
    """
    if not isinstance(run, Mapping):
        return None
    hashes = run.get(HASHES)
    if hashes is None and not any(isinstance(value, Mapping) and RUN_FILE in value for value in run.values()):
        return None
    if not isinstance(hashes, Mapping) or hashes.get(RUN_FILE) != _own_hash(run):
        raise ValueError("is not what it was when it was written: its own sha256 differs")
    return {str(name): str(value) for name, value in hashes.items() if name != RUN_FILE}


def _own_hash(run: Mapping[str, Any]) -> str:
    """Hex sha256 of the content without this hash, which cannot be part of itself."""
    return json_checksum({**run, HASHES: {name: value for name, value in run[HASHES].items() if name != RUN_FILE}})
