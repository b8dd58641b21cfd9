"""What a leaderboard is made of: results folders, and repositories of submissions with the verdicts on them.

A verdict counts for a submission whose files have the digest that it names; a file that was changed since makes it one
that nobody has looked at. Nothing that a submission says of itself is trusted further than its schema and the page's
escaping carry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.leaderboard.board import Level, Refused
from lamofcbench.errors import LaMoFCBenchError, first_line, one_line

SUBMISSIONS, VERDICTS = "submissions", "verdicts"
MAX_JSON_BYTES = 2**22


@dataclass(frozen=True)
class Entry:
    """Results that stand on the board, and what is known of where they come from.

    Attributes:
        results: a folder as `lamofcbench run` leaves it.
        level: how far they were checked.
        about: name, organisation, link, commit and licence, by the names of `board.Row`; empty for a plain folder.
        checked_on: the day of the verdict; empty without one.
    """

    results: Path
    level: Level
    about: dict[str, Any]
    checked_on: str = ""


def find_entries(folders: Sequence[Path]) -> tuple[list[Entry], list[Refused]]:
    """The entries of results folders and of folders in the layout of a results repository.

    Raises:
        LaMoFCBenchError: if a folder is not there, or holds neither.
    """
    entries: list[Entry] = []
    refused: list[Refused] = []
    for folder in folders:
        if not folder.is_dir():
            raise LaMoFCBenchError(f"there is no folder {folder}; name results, or a repository of submissions")
        if (folder / SUBMISSIONS).is_dir():
            for submission in sorted(path for path in (folder / SUBMISSIONS).iterdir() if path.is_dir()):
                found = _submitted(folder, submission)
                (refused if isinstance(found, Refused) else entries).append(found)  # type: ignore[arg-type]
        else:
            entries.append(Entry(folder, "not verified", {}))
    return entries, refused


def _submitted(repository: Path, folder: Path) -> Entry | Refused:
    from harness.submission.manifest import SubmissionError, read_manifest, submission_digest

    try:
        manifest = read_manifest(folder)
    except SubmissionError as error:
        return Refused(submission=one_line(folder.name, 96), reason=first_line(error, 300))
    if manifest.name != folder.name:
        return Refused(submission=one_line(folder.name, 96), reason=f"its {folder.name} calls itself {manifest.name}")
    verdict = _verdict(repository / VERDICTS / f"{folder.name}.json")
    level: Level = "not verified"
    checked_on = ""
    if verdict is not None and verdict.get("digest") == submission_digest(folder):
        if verdict["level"] == "refused":
            faults = verdict.get("faults") or [{}]
            fault = one_line(str(faults[0].get("fault", "no reason is given")), 300)
            more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
            return Refused(submission=manifest.name, reason=fault + more)
        level, checked_on = verdict["level"], str(verdict.get("date", ""))[:10]
    about = {
        "submission": manifest.name,
        "codec": manifest.display_name,
        "organisation": manifest.organisation,
        "link": manifest.link,
        "commit": manifest.commit,
        "licence": manifest.licence,
    }
    return Entry(folder / "results", level, about, checked_on)


def _verdict(path: Path) -> dict[str, Any] | None:
    """A verdict's content; None where there is none that can be read, which is as good as none."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_JSON_BYTES:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("level") in ("verified", "consistent", "refused") else None
