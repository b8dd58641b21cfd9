"""What an entry brings to a board: its results on the scenarios that count, and how far its word on each goes."""

from __future__ import annotations

from dataclasses import dataclass

from harness.leaderboard.entries import Entry
from harness.report.analysis import ScenarioAnalysis
from harness.report.summary import CodecSummary


@dataclass(frozen=True)
class Measured:
    """An entry's results on the scenarios that count."""

    entry: Entry
    analyses: dict[str, ScenarioAnalysis]

    def shown(self, id: str) -> list[CodecSummary]:
        """The codecs that get a row, on one of the scenarios."""
        return [
            codec
            for codec in self.analyses[id].summary.codecs
            if codec.role == "codec" and self.entry.shows(codec.name, codec.identity)
        ]

    def is_replayed(self, id: str) -> bool:
        """Whether what the entry says of one of the scenarios counts, see `Entry.is_replayed`."""
        return self.entry.is_replayed(self._ref(id))

    def precedence(self, id: str) -> int:
        """Whose word on one of the scenarios counts first, see `Entry.precedence`."""
        return self.entry.precedence(self._ref(id))

    def _ref(self, id: str) -> str:
        return f"{id}@{self.analyses[id].summary.version}"
