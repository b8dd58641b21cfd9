"""What validation came to: the content of ``verdicts/<name>.json``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.submission.manifest import FORMAT_VERSION, NAME, Hex64, Line, Strict
from lamofcbench.atomic import write_json

Level = Literal["verified", "consistent", "refused"]
NOTHING_READ = "0" * 64
"""The digest of files that were refused before anything was read."""
MAX_FAULTS = 200
MAX_VERDICT_BYTES = 2**22


class Fault(Strict):
    """One thing that is wrong."""

    file: Line = Field(description="relative to the submission's folder")
    sample: Line | None = Field(default=None, description="index and id, where it is about one")
    fault: Line

    def __str__(self) -> str:
        sample = f", sample {self.sample}" if self.sample else ""
        return f"{self.file}{sample}: {self.fault}"


class Check(Strict):
    """One thing that was looked at."""

    what: Line
    checked: int = Field(ge=0, description="how many")
    of: int = Field(ge=0, description="out of how many")
    left_out: Line = Field(default="", description="why not all, where that was no choice of the validation's share")

    def __str__(self) -> str:
        reason = f" ({self.left_out})" if self.left_out else ""
        return f"{self.what}: {self.checked} of {self.of}{reason}"


class Replayed(Strict):
    """How many results of a scenario were replayed: decoded and predicted anew, on samples that the validation drew."""

    scenario: Line = Field(description="<scenario>@<version>")
    results: int = Field(ge=1, description="how many were")
    of: int = Field(ge=1, description="out of how many; uncoded features and calibration mean are among them")


class Looked(Strict):
    """How closely a validation looked."""

    trusted: bool = Field(default=False, description="a codec's own source was run, where there is one")
    full: bool = Field(default=False, description="every sample was decoded and predicted, not a share of the batches")
    fresh: int | None = Field(default=None, ge=0, lt=2**63, description="the seed of new samples; null for none")

    def is_closer_than(self, other: Looked) -> bool:
        """Whether it looked at something that the other did not."""
        return (
            (self.trusted and not other.trusted)
            or (self.full and not other.full)
            or (self.fresh is not None and other.fresh is None)
        )

    def __str__(self) -> str:
        fresh = [] if self.fresh is None else [f"fresh={self.fresh}"]
        return " ".join([*(name for name in ("trusted", "full") if getattr(self, name)), *fresh])


USUAL = Looked()
"""A share of the batches, and nothing of a submitter's own code."""


class Verdict(Strict):
    """The content of ``verdicts/<name>.json``.

    ``verified``: all that was looked at holds, and everything could be looked at: bytes, decoding, tail, figures.
    ``consistent``: nothing contradicts, and something could not be looked at (`Check.left_out`).
    ``refused``: there are faults.
    """

    format_version: Literal[1] = FORMAT_VERSION
    submission: str = Field(pattern=rf"^{NAME.pattern}$")
    digest: Hex64 = Field(description="over the submission's files, see harness.submission.manifest.submission_digest")
    level: Level
    faults: list[Fault]
    checked: list[Check]
    replayed: list[Replayed] = Field(
        default=[],
        description="the scenarios of which results were decoded, and predicted by the tail, on samples that the "
        "validation drew; a scenario without all of its results here has no rank on a board",
    )
    looked: Looked = Field(default=USUAL, description="how closely; an ordinary look where nothing is said")
    seed: int = Field(ge=0, description="that drew the share of batches")
    versions: dict[Line, int | Line] = Field(description="of what validated")
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00$")

    def has_replayed(self, scenario: str) -> bool:
        """Whether every result of a scenario was replayed, of which a verified submission leaves out none.

        Args:
            scenario: ``<scenario>@<version>``.
        """
        whole = any(one.scenario == scenario and one.results == one.of for one in self.replayed)
        return self.level == "verified" or (self.level == "consistent" and whole)


def read_verdict(path: Path) -> Verdict | None:
    """A verdict; None where there is none that can be read, which is as good as none."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if path.is_file() and path.stat().st_size <= MAX_VERDICT_BYTES:
            return Verdict.model_validate_json(path.read_bytes())
    return None


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Writes a verdict, whole or not at all."""
    write_json(path, verdict.model_dump(mode="json"))
