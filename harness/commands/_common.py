"""Arguments and output that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from harness.console import MAX_LINE, fitting
from lamofcbench.errors import one_line

SCENARIOS = "ids, path/to/file.py:NAME, or the tracks of mini, small, full"
"""What may be named where scenarios are."""


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """``--data``."""
    parser.add_argument(
        "--data", type=data_place, metavar="DIR",
        help="dataset folder, or hf://datasets/org/name[@revision] (default: built once into the cache)",
    )  # fmt: skip


def data_place(text: str) -> str | Path:
    """The value of ``--data``: a folder, or the name of a dataset repository as it stands."""
    return text if text.startswith("hf://") else Path(text)


def add_placement_arguments(parser: argparse._ActionsContainer) -> None:
    """``--device-map`` and what belongs to it."""
    parser.add_argument(
        "--device-map", metavar="MAP",
        help="auto, balanced or sequential, by which accelerate spreads each network over devices, memory and disk; or "
        "a JSON file of modules and devices (default: one device)",
    )  # fmt: skip
    parser.add_argument("--offload", type=Path, metavar="DIR", help="folder for what no device and no memory holds")
    parser.add_argument(
        "--max-memory", nargs="+", metavar="DEVICE=SIZE", help="limits of a device map, such as 0=70GiB cpu=100GiB"
    )


def placement_of(args: argparse.Namespace, part: Literal["whole", "tail"]):  # type: ignore[no-untyped-def]
    """How models are loaded.

    Raises:
        LaMoFCBenchError: for a map, a file or a limit that is none.
    """
    import json

    from lamofcbench.errors import LaMoFCBenchError, first_line
    from lamofcbench.models.placement import MAPS, Placement

    device_map = args.device_map
    if device_map is not None and device_map not in MAPS and Path(device_map).is_file():
        try:
            device_map = json.loads(Path(device_map).read_text(encoding="utf-8"))
            if not isinstance(device_map, dict):
                raise ValueError("it is no object")
        except (OSError, ValueError, RecursionError) as error:
            raise LaMoFCBenchError(f"cannot read the device map {args.device_map}: {first_line(error)}") from error
    limits = None
    if args.max_memory is not None:
        pairs = [text.partition("=") for text in args.max_memory]
        for text, (device, _, size) in zip(args.max_memory, pairs, strict=True):
            if not device or not size:
                raise LaMoFCBenchError(f"--max-memory {text!r} is no DEVICE=SIZE, such as cpu=100GiB")
        limits = {device: size for device, _, size in pairs}
    if device_map is None and (args.offload is not None or limits is not None):
        raise LaMoFCBenchError("--offload and --max-memory belong to a --device-map; name one, such as auto")
    return Placement(part, device_map, args.offload, limits)


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """``--trust-code``."""
    parser.add_argument(
        "--trust-code", action="store_true", help="allow a saved codec to run the Python source that came with it"
    )


def teller(args: argparse.Namespace) -> Callable[[str], None]:
    """Writes a line a step to stderr, unless ``--quiet`` says that it is not to."""

    def tell(line: str) -> None:
        if not args.quiet:
            print(one_line(line, MAX_LINE), file=sys.stderr)

    return tell


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Prints rows as columns; the first row is the head."""
    texts = [
        ["" if cell is None else fitting(one_line(str(cell), MAX_LINE), sys.stdout) for cell in row] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
