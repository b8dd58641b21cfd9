"""What the leaderboard shows: the schema of its JSON export, from which the page is drawn too.

Keys are written in the order of the fields. Figures are the report's own (`harness.report.summary`), rounded for a
reader; curves are lists, because a page for a hundred codecs must stay small.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.statistics.curves import Bound
from lamofcbench.codecs.knowledge import Knowledge
from lamofcbench.scenarios.kinds import Kind

FORMAT_VERSION: Literal[1] = 1
DIGITS = 4
"""Significant digits of a figure."""

Level = Literal["verified", "consistent", "not verified"]
LEVELS: tuple[Level, ...] = ("verified", "consistent", "not verified")
"""The most certain first."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rate(_Strict):
    """EBPFP@p, or a mean of them; lower is better, 32 is uncoded."""

    value: float
    low: float | None = Field(default=None, description="lower end of the 95 % interval")
    high: float | None = Field(default=None, description="upper end of the interval")
    bound: Bound | None = Field(
        default=None,
        description="'at most': even the lowest rate point keeps p %, on one of the scenarios at least; 'never': none "
        "does, counted as 32",
    )
    rank: int | None = Field(
        default=None, description="among all codecs but those of submissions that are not replayed, which have none"
    )
    class_rank: int | None = Field(default=None, description="among those of its class of knowledge")


class CurvePoint(_Strict):
    """One rate point."""

    label: str = Field(description="the parameters in which the codec's points differ")
    ebpfp: float
    score: float


class Row(_Strict):
    """One codec on the scenarios of one edition."""

    codec: str = Field(description="as it is shown, unique in its edition")
    name: str = Field(description="the codec's own")
    organisation: str = ""
    link: str | None = Field(default=None, pattern=r"^https://[\x21-\x7e]+$", description="where its code is")
    commit: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$", description="of that code")
    licence: str = ""
    submission: str = Field(default="", description="its name; empty for a results folder")
    level: Level
    checked_on: str = Field(default="", description="the day of its verdict")
    not_replayed: list[str] = Field(
        default=[],
        description="of a submission, its scenarios some of whose results nobody has decoded and predicted anew: they "
        "have no rank, and neither has a mean",
    )
    trained_on: Knowledge = Field(description="its class of knowledge")
    state_bytes: int = Field(
        description="the largest of its points on the scenarios that `overall` is over; in no rate"
    )
    encode_mb_per_s: float | None = Field(
        default=None, description="geometric mean over the scenarios that `overall` is over; null where it lacks one"
    )
    decode_mb_per_s: float | None = Field(default=None, description="the same")
    overall: Rate | None = Field(
        default=None,
        description="geometric mean over all scenarios of the edition that ranked codecs have, but variants; null "
        "where one lacks",
    )
    categories: dict[str, Rate] = Field(description="the same over a category's, where it has them all")
    kinds: dict[Kind, Rate] = Field(description="the same over those of a kind of features")
    scenarios: dict[str, Rate] = Field(description="EBPFP@p of each")
    curves: dict[str, list[CurvePoint]] = Field(description="by scenario, in the order of rising rate")

    def ranks_on(self, scenario: str | None = None) -> bool:
        """Whether it has a rank on a scenario, and a voice in what is shown of others.

        Args:
            scenario: its id; None for figures over several, whose rank rests on all of them.
        """
        return not self.not_replayed if scenario is None else scenario not in self.not_replayed


class BoardScenario(_Strict):
    """One scenario of an edition."""

    id: str
    title: str
    category: str
    features: Kind | None
    variant_of: str | None = Field(default=None, description="the scenario that it is a variant of; it is in no mean")
    metric: str
    direction: Literal["up", "down"] = Field(description="'up' where a higher score is better")
    samples: int
    version: int
    data_revision: str
    raw_bytes_per_sample: float
    anchor: float = Field(description="score with uncoded features")
    floor: float = Field(description="score with the calibration mean")


class Edition(_Strict):
    """The scenarios that are ranked together, and the codecs on them."""

    name: str
    percent: int = Field(description="by which EBPFP@p its codecs are ranked")
    scenarios: list[BoardScenario]
    rows: list[Row] = Field(description="best first; those that lack scenarios last")


class LeftOut(_Strict):
    """What is not shown: a refused submission, or results that stand beside no others; or what to know of the rest."""

    what: str
    reason: str


class Board(_Strict):
    """All that the leaderboard says."""

    format_version: Literal[1] = FORMAT_VERSION
    lamofcbench_version: str
    protocol_version: int
    source: str = Field(description="what it was made of")
    confidence: float = Field(description="of the intervals")
    editions: list[Edition]
    refused: list[LeftOut] = Field(default=[], description="submissions that validation refused")
    left_out: list[LeftOut] = Field(
        default=[], description="what cannot stand beside the rest, and the warnings of the report"
    )

    def as_json(self) -> dict[str, Any]:
        """Plain values, without what is empty."""
        return {"format_version": self.format_version} | self.model_dump(mode="json", exclude_defaults=True)
