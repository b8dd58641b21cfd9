"""What a leaderboard is made of: results folders, and repositories of submissions with the verdicts on them.

A verdict counts for a submission whose files have the digest that it names; a file that was changed since makes it one
that nobody has looked at. Nothing that a submission says of itself is trusted further than its schema and the page's
escaping carry, and nothing of it is analysed if its files are not, by name, kind, size and number, a submission's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.leaderboard.board import LEVELS, LeftOut, Level
from harness.submission.findings import Findings
from harness.submission.intake import check_kinds, check_layout
from harness.submission.manifest import (
    MAX_POINTS,
    RESULTS_FOLDER,
    SUBMISSIONS,
    VERDICTS,
    SubmissionError,
    read_manifest,
    submission_digest,
)
from harness.submission.verdict import NOTHING_READ, Fault, Verdict, read_verdict
from lamofcbench.codecs.knowledge import Knowledge
from lamofcbench.errors import LaMoFCBenchError, first_line, one_line

MOST_RESULTS = MAX_POINTS + 2
"""Of a submission on a scenario: the points of a ladder, uncoded features and the calibration mean."""


@dataclass(frozen=True)
class Entry:
    """Results that stand on the board, and what is known of where they come from.

    Attributes:
        results: a folder as `lamofcbench run` leaves it, by its whole path.
        level: how far they were checked.
        checked_on: the day of the verdict; empty without one.
        verdict: on this very content; None without one.
        submission: its name; empty for a plain folder.
        codec: the one that was submitted, by its own name; None for every codec of the folder.
        identity: of its code; None for any.
        knowledge: what it has learned from, as its submitter says; None where nobody says.
        about: how it is shown, organisation, link, commit and licence, by the names of `board.Row`.
    """

    results: Path
    level: Level = "not verified"
    checked_on: str = ""
    verdict: Verdict | None = None
    submission: str = ""
    codec: str | None = None
    identity: str | None = None
    knowledge: Knowledge | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """What to call it in a line for a person."""
        return self.submission or self.results.name

    def is_replayed(self, scenario: str) -> bool:
        """Whether what it says of a scenario counts: ranks, and what is shown of others, rest on no mere word.

        Results folders count, which the board's maker names, and submissions whose results on it, all of them, somebody
        has decoded and predicted anew.

        Args:
            scenario: ``<scenario>@<version>``.
        """
        return not self.submission or (self.verdict is not None and self.verdict.has_replayed(scenario))

    def precedence(self, scenario: str) -> int:
        """Whose word on a scenario counts first, the lowest: the better checked, folders before submissions.

        Args:
            scenario: ``<scenario>@<version>``.
        """
        level = self.level if self.is_replayed(scenario) else LEVELS[-1]
        return 2 * LEVELS.index(level) + bool(self.submission)

    def shows(self, codec: str, identity: str) -> bool:
        """Whether a codec gets a row; a submission's folder may hold others' results, too.

        Args:
            codec: its own name.
            identity: of its code.
        """
        return self.codec in (None, codec) and self.identity in (None, identity)


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
    verdict = read_verdict(repository / VERDICTS / f"{folder.name}.json")
    if verdict is not None and verdict.level == "refused" and verdict.digest == NOTHING_READ:
        return LeftOut(what=shown, reason=_first(fault.fault for fault in verdict.faults))
    faults = _faults(folder)
    if faults:
        return LeftOut(what=shown, reason=_first(map(str, faults)))
    try:
        manifest = read_manifest(folder)
    except SubmissionError as error:
        return LeftOut(what=shown, reason=one_line(first_line(error, 400).replace(f"{folder}/", ""), 300))
    if manifest.name != folder.name:
        return LeftOut(what=shown, reason=f"it lies in a folder of another name and calls itself {manifest.name}")
    level: Level = "not verified"
    if verdict is not None and verdict.digest != submission_digest(folder):
        verdict = None
    if verdict is not None:
        if verdict.level == "refused":
            return LeftOut(what=shown, reason=_first(fault.fault for fault in verdict.faults))
        level = verdict.level
    return Entry(
        folder / RESULTS_FOLDER,
        level,
        checked_on="" if verdict is None else verdict.date[:10],
        verdict=verdict,
        submission=manifest.name,
        codec=manifest.codec.id,
        identity=manifest.codec.identity,
        knowledge=manifest.knowledge,
        about={
            "codec": manifest.display_name,
            "organisation": manifest.organisation,
            "link": manifest.link,
            "commit": manifest.commit,
            "licence": manifest.licence,
        },
    )


def _faults(folder: Path) -> Sequence[Fault]:
    """What a look at the names, kinds, sizes and numbers of files finds, as validation would; none is opened."""
    findings = Findings(folder)
    if folder.is_symlink():
        findings.fault(folder.name, "is a link")
    elif check_kinds(folder, findings) and check_layout(folder, findings):
        for scenario, results in Counter(path.parts[-3] for path in folder.glob(f"{RESULTS_FOLDER}/*/*/*")).items():
            if results > MOST_RESULTS:
                findings.fault(f"{RESULTS_FOLDER}/{scenario}", f"holds {results} results; at most {MOST_RESULTS} count")
    return findings.faults


def _first(faults: Iterable[str]) -> str:
    first, *others = [*faults] or ["no reason is given"]
    return one_line(first, 300) + (f", and {len(others)} more" if others else "")
