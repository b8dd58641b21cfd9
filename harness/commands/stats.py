"""`lamofcbench stats`: ranges, spreads and correlations of a scenario's tensors."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from harness.commands import _common

HELP = "ranges, spreads and correlations of a scenario's tensors"
HEAD = (
    "tensor", "channels", "min", "quarter", "median", "3 quarters", "max",
    "kurtosis", "channel spread", "token corr", "channel corr",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO", help=_common.SCENARIOS)
    _common.add_data_argument(parser)
    parser.add_argument("--split", default="calibration", help="test or calibration (default: calibration)")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N samples only")
    parser.add_argument("--json", action="store_true", help="all figures, as JSON")


def run(args: argparse.Namespace) -> None:
    """Runs the command; every tensor has a row, and one without its two largest channels."""
    from harness.running.selection import select_scenarios
    from lamofcbench.errors import LaMoFCBenchError
    from lamofcbench.statistics import tensor_statistics
    from lamofcbench.storage import open_split

    if args.limit is not None and args.limit < 1:
        raise LaMoFCBenchError(f"limit is {args.limit}; at least 1 sample is needed")
    found = {}
    for scenario in select_scenarios(args.scenarios):
        reader = open_split(scenario, args.split, args.data)
        count = min(len(reader), args.limit or len(reader))
        samples = (reader.features(index) for index in range(count))
        found[scenario.id] = tensor_statistics(samples, scenario.specs, count)
        if not args.json:
            print(f"{scenario.id}, {args.split} split, {count} samples")
            _common.print_table([HEAD, *(row for tensor in found[scenario.id] for row in _rows(tensor))])
    if args.json:
        print(json.dumps({id: [_finite(asdict(t)) for t in tensors] for id, tensors in found.items()}, indent=2))


def _finite(value: Any) -> Any:
    """The value with null for what JSON cannot say: an infinite or undefined figure."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rows(tensor: Any) -> Iterator[tuple[str, ...]]:
    yield (tensor.name, *_cells(tensor.all))
    if tensor.without_largest is not None:
        yield ("  without 2 largest", *_cells(tensor.without_largest))


def _cells(spread: Any) -> list[str]:
    channels, *figures = asdict(spread).values()
    return [str(channels), *(f"{figure:.3g}" for figure in figures)]
