"""What a leaderboard is made of: results folders, and repositories of submissions with the verdicts on them.

A verdict counts for a submission whose files have the digest that it names; a file that was changed since makes it one
that nobody has looked at. Nothing that a submission says of itself is trusted further than its schema and the page's
escaping carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.leaderboard.board import LeftOut, Level
from harness.submission.manifest import (
    RESULTS_FOLDER,
    SUBMISSIONS,
    VERDICTS,
    SubmissionError,
    read_manifest,
    submission_digest,
)
from harness.submission.verdict import Verdict, read_verdict
from lamofcbench.codecs.knowledge import Knowledge
from lamofcbench.errors import LaMoFCBenchError, first_line, one_line


@dataclass(frozen=True)
class Entry:
    """Results that stand on the board, and what is known of where they come from.

    Attributes:
        results: a folder as `lamofcbench run` leaves it, by its whole path.
        level: how far they were checked.
        checked_on: the day of the verdict; empty without one.
        submission: its name; empty for a plain folder.
        codec: the one that was submitted, by its own name; None for every codec of the folder.
        knowledge: what it has learned from, as its submitter says; None where nobody says.
        about: how it is shown, organisation, link, commit and licence, by the names of `board.Row`.
    """

    results: Path
    level: Level = "not verified"
    checked_on: str = ""
    submission: str = ""
    codec: str | None = None
    knowledge: Knowledge | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """What to call it in a line for a person."""
        return self.submission or self.results.name

    def shows(self, codec: str) -> bool:
        """Whether a codec, by its own name, gets a row; a submission's folder may hold others' results, too."""
        return self.codec in (None, codec)


def find_entries(folders: Sequence[Path]) -> tuple[list[Entry], list[LeftOut]]:
    """The entries of results folders and of folders in the layout of a results repository, and what was refused.

    Raises:
        LaMoFCBenchError: if a folder is not there.
    """
    entries: list[Entry] = []
    refused: list[LeftOut] = []
    for folder in folders:
        if not folder.is_dir():
            raise LaMoFCBenchError(f"there is no folder {folder}; name results, or a repository of submissions")
        folder = folder.resolve()
        if not (folder / SUBMISSIONS).is_dir():
            entries.append(Entry(folder))
            continue
        for submission in sorted(path for path in (folder / SUBMISSIONS).iterdir() if path.is_dir()):
            found = _submitted(folder, submission)
            if isinstance(found, Entry):
                entries.append(found)
            else:
                refused.append(found)
    return entries, refused


def _submitted(repository: Path, folder: Path) -> Entry | LeftOut:
    shown = one_line(folder.name, 96)
    try:
        manifest = read_manifest(folder)
    except SubmissionError as error:
        return LeftOut(what=shown, reason=one_line(first_line(error, 400).replace(f"{folder}/", ""), 300))
    if manifest.name != folder.name:
        return LeftOut(what=shown, reason=f"it lies in a folder of another name and calls itself {manifest.name}")
    level: Level = "not verified"
    checked_on = ""
    verdict = read_verdict(repository / VERDICTS / f"{folder.name}.json")
    if verdict is not None and verdict.digest == submission_digest(folder):
        if verdict.level == "refused":
            return LeftOut(what=shown, reason=_first_fault(verdict))
        level, checked_on = verdict.level, verdict.date[:10]
    return Entry(
        folder / RESULTS_FOLDER,
        level,
        checked_on=checked_on,
        submission=manifest.name,
        codec=manifest.codec.id,
        knowledge=manifest.knowledge,
        about={
            "codec": manifest.display_name,
            "organisation": manifest.organisation,
            "link": manifest.link,
            "commit": manifest.commit,
            "licence": manifest.licence,
        },
    )


def _first_fault(verdict: Verdict) -> str:
    if not verdict.faults:
        return "no reason is given"
    more = f", and {len(verdict.faults) - 1} more" if len(verdict.faults) > 1 else ""
    return one_line(verdict.faults[0].fault, 300) + more
