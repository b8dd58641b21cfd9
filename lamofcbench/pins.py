"""A user's pins: the commits at which repositories of models are read that no declaration pins.

They stand in one JSON file, an object of repositories and 40-digit commits, which ``lamofcbench pin`` writes. A
scenario keeps its digest, whatever is pinned there; results tell the commit as part of the split model's identity.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from lamofcbench.atomic import write_json
from lamofcbench.errors import DataError, LaMoFCBenchError, first_line, shown
from lamofcbench.locks import locked

PINS_VARIABLE = "LAMOFCBENCH_PINS"
COMMIT = re.compile(r"[0-9a-f]{40}")
MAX_BYTES = 2**20
HUB_SECONDS = 30.0


def pins_file() -> Path:
    """The file named by ``LAMOFCBENCH_PINS``, by default ``~/.config/lamofcbench/pins.json``."""
    return Path(os.environ.get(PINS_VARIABLE) or "~/.config/lamofcbench/pins.json").expanduser().absolute()


def read_pins(file: Path | None = None) -> dict[str, str]:
    """Repositories and their commits; none where there is no file.

    Args:
        file: None for `pins_file`.

    Raises:
        DataError: if the file holds anything else.
    """
    file = file or pins_file()
    try:
        if file.stat().st_size > MAX_BYTES:
            raise DataError(f"{file} is larger than {MAX_BYTES} bytes, which are no pins")
        pins = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read the pins in {file}: {first_line(error)}") from error
    if not isinstance(pins, dict):
        raise DataError(f"{file} holds no pins, which are an object of repositories and commits")
    for repo, commit in pins.items():
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise DataError(f"{file} pins {shown(repo)} to {shown(commit)}, which is no 40-digit commit")
    return pins


def write_pin(repo: str, commit: str, file: Path | None = None) -> str | None:
    """Pins a repository; returns the commit that it was pinned to before.

    Args:
        repo: of the Hub.
        commit: 40 digits.
        file: None for `pins_file`.

    Raises:
        DataError: if the file is there and holds no pins.
        WriteError: if it cannot be written.
    """
    file = file or pins_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.parent / ".locks" / file.name, f"pinning {repo}"):
        pins = read_pins(file)
        before = pins.get(repo)
        write_json(file, dict(sorted({**pins, repo: commit}.items())))
    return before


def current_commit(repo: str, revision: str | None = None, file: Path | None = None) -> str:
    """The commit at which a model repository's branch or tag stands on the Hub.

    Args:
        repo: of the Hub.
        revision: a branch, tag or commit; None for the main branch.
        file: of pins, which the message names; None for `pins_file`.

    Raises:
        LaMoFCBenchError: if the Hub cannot be asked, or has no such repository.
    """
    from huggingface_hub import HfApi

    try:
        commit = HfApi().model_info(repo, revision=revision, timeout=HUB_SECONDS).sha
    except Exception as error:  # no network, offline mode, no such repository, no access
        raise LaMoFCBenchError(
            f"cannot ask the Hub for the commit of {repo}: {first_line(error)}; where there is no network, write "
            f'{{"{repo}": "COMMIT"}} into {file or pins_file()}, with a 40-digit commit of '
            f"https://huggingface.co/{repo}/commits/main"
        ) from error
    if not commit or not COMMIT.fullmatch(commit):
        raise LaMoFCBenchError(f"the Hub says that {repo} is at {shown(commit)}, which is no 40-digit commit")
    return commit
