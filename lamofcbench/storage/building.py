"""One builder at a time: the second waits, says for whom, and goes on when the first has ended, however it ended."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from lamofcbench.locks import LOCKS_DIRECTORY, locked


def building(output: Path, scenario_id: str) -> AbstractContextManager[bool]:
    """Keeps others from building the same scenario into the same folder; yields whether it had to wait for one.

    Args:
        output: the dataset folder.
        scenario_id: what is built.

    Raises:
        WriteError: if the folder cannot be written.
    """
    return locked(output / LOCKS_DIRECTORY / f"{scenario_id}.lock", f"building {scenario_id} in {output}")
