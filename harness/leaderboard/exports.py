"""The board as CSV and JSON, for those who go on with the figures."""

from __future__ import annotations

import csv
import io
import json

from harness.leaderboard.board import Board

COLUMNS = (
    "edition", "scenario", "codec", "submission", "level", "trained_on", "ebpfp", "low", "high", "bound", "rank",
    "class_rank", "state_bytes", "encode_mb_per_s", "decode_mb_per_s",
)  # fmt: skip
OVERALL = "overall"


def to_json(board: Board) -> str:
    """All that the board holds."""
    return json.dumps(board.as_json(), ensure_ascii=False, separators=(",", ":"))


def to_csv(board: Board) -> str:
    """A line for each codec and scenario, and one for the headline of each edition.

    A field that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for edition in board.editions:
        for row in edition.rows:
            rates = {OVERALL: row.overall, **row.scenarios}
            for scenario, rate in rates.items():
                if rate is None:
                    continue
                who = (edition.name, scenario, row.codec, row.submission, row.level, row.trained_on)
                figures = (rate.value, rate.low, rate.high, rate.bound, row.rank, row.class_rank)
                speeds = (row.state_bytes, row.encode_mb_per_s, row.decode_mb_per_s)
                writer.writerow([_plain(cell) for cell in (*who, *figures, *speeds)])
    return stream.getvalue()


def _plain(cell: object) -> object:
    if cell is None:
        return ""
    if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{cell}"
    return cell
