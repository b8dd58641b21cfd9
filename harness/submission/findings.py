"""What validation finds, as it goes: faults by file and sample, and how much of what was looked at."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from harness.submission.verdict import MAX_FAULTS, Check, Fault, Level, Replayed
from lamofcbench.errors import one_line

MAX_FAULTS_A_FILE = 10
"""Of one file no more is listed: the first ones tell as much as a thousand."""


class Findings:
    """Collects faults and counts.

    Args:
        folder: of the submission; files are named relative to it.

    Attributes:
        faults: as many as are listed.
        replayed: the scenarios of which results were decoded and predicted anew.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[Fault] = []
        self.replayed: list[Replayed] = []
        self._files: Counter[str] = Counter()
        self._counts: dict[str, list[int]] = {}
        self._left_out: dict[str, list[str]] = {}
        self._noted: list[Check] | None = None

    def fault(self, path: Path | str, what: str, sample: str | None = None) -> None:
        """Adds a fault.

        Args:
            path: the file, below the submission's folder.
            what: is wrong; the folder's own path in it is left out.
            sample: index and id, where it is about one.
        """
        name = path.relative_to(self.folder).as_posix() if isinstance(path, Path) else path
        name = one_line(name.encode("utf-8", "replace").decode(), 300)
        self._files[name] += 1
        if self._files[name] > MAX_FAULTS_A_FILE or len(self.faults) >= MAX_FAULTS:
            return
        last = self._files[name] == MAX_FAULTS_A_FILE or len(self.faults) == MAX_FAULTS - 1
        text = what.replace(f"{self.folder}/", "").replace(str(self.folder), "the submission")
        text = one_line(text.encode("utf-8", "replace").decode(), 500)
        shown = None if sample is None else one_line(sample.encode("utf-8", "replace").decode(), 300)
        self.faults.append(Fault(file=name, sample=shown, fault=f"{text} (more is not listed)" if last else text))

    def count(self, what: str, checked: int, of: int, left_out: str = "") -> None:
        """Adds to how much was looked at.

        Args:
            what: was looked at.
            checked: how many.
            of: out of how many.
            left_out: why the rest could not be; empty where it was not drawn.
        """
        counts = self._counts.setdefault(what, [0, 0])
        counts[0] += checked
        counts[1] += of
        reasons = self._left_out.setdefault(what, [])
        if left_out and left_out not in reasons:
            reasons.append(left_out)
        if self._noted is not None:
            self._noted.append(Check(what=what, checked=checked, of=of, left_out=left_out))

    @contextlib.contextmanager
    def noted(self) -> Iterator[list[Check]]:
        """What is counted meanwhile, one by one."""
        counts: list[Check] = []
        self._noted = counts
        try:
            yield counts
        finally:
            self._noted = None

    def count_replayed(self, scenario: str, results: int, of: int) -> None:
        """Adds how many results of a scenario were replayed.

        Args:
            scenario: ``<scenario>@<version>``; one that has none is not kept, because a stranger may name any number.
            results: how many were.
            of: out of how many.
        """
        self.count("results decoded, and predicted by the tail, on samples drawn here", results, of)
        if results:
            self.replayed.append(Replayed(scenario=scenario, results=results, of=of))

    def are_about(self, folder: Path) -> bool:
        """Whether there is a fault of any file below a folder."""
        start = folder.relative_to(self.folder).as_posix()
        return any(name == start or name.startswith(f"{start}/") for name in self._files)

    @property
    def checks(self) -> list[Check]:
        """How much was looked at, in the order of its first mention."""
        return [
            Check(what=what, checked=checked, of=of, left_out=one_line("; ".join(self._left_out[what]), 500))
            for what, (checked, of) in self._counts.items()
        ]

    @property
    def level(self) -> Level:
        """What it comes to."""
        if self._files:
            return "refused"
        return "consistent" if any(self._left_out.values()) else "verified"
