"""Arguments and output that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.console import MAX_LINE, fitting
from lamofcbench.errors import one_line


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """``--data``."""
    parser.add_argument(
        "--data", type=data_place, metavar="DIR",
        help="dataset folder, or hf://datasets/org/name[@revision] (default: built once into the cache)",
    )  # fmt: skip


def data_place(text: str) -> str | Path:
    """The value of ``--data``: a folder, or the name of a dataset repository as it stands."""
    return text if text.startswith("hf://") else Path(text)


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """``--trust-code``."""
    parser.add_argument(
        "--trust-code", action="store_true", help="allow a saved codec to run the Python source that came with it"
    )


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Prints rows as columns; the first row is the head."""
    texts = [
        ["" if cell is None else fitting(one_line(str(cell), MAX_LINE), sys.stdout) for cell in row] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
