"""What all tables of a report are made of: cells and columns, once, for markdown, the page and the terminal alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.report import text
from harness.report.summary import FAITHFUL_ERROR, FAITHFUL_NATS, GAP_NMSES, Estimate

if TYPE_CHECKING:
    from lamofcbench.models.base import ResponseKind

ROLE_NAMES = {"codec": "", "anchor": " (anchor)", "floor": " (floor)"}


@dataclass(frozen=True)
class Cell:
    """What a cell shows, what it sorts by, and whether it stands out."""

    text: str
    sort: float | str | None = None
    strong: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Column:
    """A column's head."""

    name: str
    hint: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table with the notes that belong under it."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default=())


def name_cell(value: str, strong: bool = False) -> Cell:
    """A name, made safe to show."""
    return Cell(text.shown(value), value, strong)


def number_cell(value: float | None, digits: int = 3) -> Cell:
    """A figure, or a dash."""
    return Cell(text.number(value, digits), value)


def estimate_cell(value: Estimate) -> Cell:
    """A figure with its interval, or a dash."""
    return Cell(text.estimate(value), value.value)


def rank_cell(rank: int | None, *, strong: bool = False) -> Cell:
    """A place among codecs, or a dash."""
    return Cell(text.NOTHING if rank is None else str(rank), rank, strong)


def state_cell(state_bytes: int | None) -> Cell:
    """The size of what a codec has learned, or a dash where it is not known."""
    return Cell(text.NOTHING if state_bytes is None else text.megabytes(state_bytes), state_bytes)


def without(table: Table, *names: str) -> Table:
    """A table without the columns of these names."""
    kept = [position for position, column in enumerate(table.columns) if column.name not in names]
    rows = [[row[position] for position in kept] for row in table.rows]
    return replace(table, columns=[table.columns[position] for position in kept], rows=rows)


def verified_cell(samples: int) -> Cell:
    """How many samples were verified."""
    return Cell(str(samples) if samples else "no", samples)


def unverified_notes(codecs: Iterable[str]) -> list[str]:
    """A line that names the codecs whose bytes no other process decoded; none where there are none."""
    names = ", ".join(text.shown(name) for name in dict.fromkeys(codecs))
    return [
        f"Not verified, by decoding samples in another process from the saved codec and the bytes: {names}."
    ] * bool(names)


CODEC_COLUMN = Column("codec", numeric=False)
KNOWLEDGE_COLUMN = Column("trained on", "what the codec has learned from, beside what everybody knows", numeric=False)
STATE_COLUMN = Column("state", "learned parameters that both sides hold, in no rate; the largest of its points")
CLASS_RANK_COLUMN = Column("in class", "rank among the codecs that were trained on the same kind of data")
SCENARIO_COLUMN = Column("scenario", numeric=False)
POINT_COLUMN = Column("rate point", numeric=False)

EBPFP_HINT = "lowest rate that keeps {} % of the score; uncoded is 32"
FAITHFUL_COLUMNS: dict[ResponseKind, Column] = {
    "logits": Column(
        f"EBPFP@{FAITHFUL_NATS:g} nats",
        f"lowest rate at which logits diverge from uncoded ones by at most {FAITHFUL_NATS:g} nats a position",
    ),
    "values": Column(
        f"EBPFP@{FAITHFUL_ERROR:g} error",
        f"lowest rate at which responses that are values lose at most {FAITHFUL_ERROR:g} of their energy about means",
    ),
}
DIVERGENCE_COLUMNS: dict[ResponseKind, Column] = {
    "logits": Column(
        "KL, nats",
        "Kullback-Leibler divergence of the responses from those to uncoded features, mean over positions",
    ),
    "values": Column(
        "response error",
        "squared error of the responses over the energy of those to uncoded features about their means",
    ),
}
GAP_HINT = f"bits per feature point above the Gaussian bound of tensors one by one, at NMSE {GAP_NMSES[0]:g}"
JOINT_GAP = "bits above joint bound"
JOINT_GAP_HINT = (
    f"bits per feature point above the Gaussian bound at NMSE {GAP_NMSES[0]:g} of tensors that share rows, together"
)
SPEED_HINT = "10^6 raw bytes a second, median over samples and rate points"
