"""The board as CSV and JSON, for those who go on with the figures."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterator

from harness.leaderboard.board import Board, Rate, Row

COLUMNS = (
    "edition", "figure", "name", "codec", "organisation", "submission", "level", "checked_on", "not_replayed",
    "trained_on", "ebpfp", "low", "high", "bound", "rank", "class_rank", "state_bytes", "encode_mb_per_s",
    "decode_mb_per_s", "link", "commit", "licence",
)  # fmt: skip

OF_ALL = ("state_bytes", "encode_mb_per_s", "decode_mb_per_s")
"""Columns of figures over all scenarios."""

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would calculate, in letters of any width."""


def to_json(board: Board) -> str:
    """All that the board holds."""
    return json.dumps(board.as_json(), ensure_ascii=False, indent=1) + "\n"


def to_csv(board: Board) -> str:
    """A line for each figure of each codec: overall, each category, each kind of features, each scenario.

    State and speeds stand on lines of ``overall``, which is what they are of. A field that a spreadsheet would take for
    a formula gets an apostrophe in front.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for edition in board.editions:
        for row in edition.rows:
            for figure, name, rate in figures(row):
                values = {
                    **row.model_dump(include=set(COLUMNS)), **rate.model_dump(), "edition": edition.name,
                    "figure": figure, "name": name, "ebpfp": rate.value, "not_replayed": " ".join(row.not_replayed),
                }  # fmt: skip
                if figure != "overall":
                    values |= dict.fromkeys(OF_ALL)
                writer.writerow([_plain(values[column]) for column in COLUMNS])
    return stream.getvalue()


def figures(row: Row) -> Iterator[tuple[str, str, Rate]]:
    """What kind of figure, of what, and the figure."""
    if row.overall is not None:
        yield "overall", "", row.overall
    for figure, rates in (("category", row.categories), ("kind", row.kinds), ("scenario", row.scenarios)):
        for name, rate in rates.items():
            yield figure, name, rate


def _plain(cell: object) -> object:
    if cell is None:
        return ""
    if isinstance(cell, str) and unicodedata.normalize("NFKC", cell[:1]) in FORMULAS:
        return f"'{cell}"
    return cell
