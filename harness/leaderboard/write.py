"""Writes a board: the page and, beside it, the files that it offers."""

from __future__ import annotations

from pathlib import Path

from harness.leaderboard.board import Board
from harness.leaderboard.exports import to_csv, to_json
from harness.leaderboard.page import render
from lamofcbench.atomic import write_text

PAGE_FILE, CSV_FILE, JSON_FILE = "index.html", "leaderboard.csv", "leaderboard.json"


def write_board(board: Board, output_dir: Path) -> list[Path]:
    """Writes page, CSV and JSON; returns their paths, the page first. Other files of the folder stay.

    Raises:
        WriteError: if a file cannot be written.
    """
    contents = {PAGE_FILE: render(board), CSV_FILE: to_csv(board), JSON_FILE: to_json(board)}
    for name, content in contents.items():
        write_text(output_dir / name, content)
    return [output_dir / name for name in contents]
