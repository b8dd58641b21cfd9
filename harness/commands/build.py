"""`lamofcbench build`: raw data through the front, into a dataset folder."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "run fronts over raw data and write the features as a dataset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO", help="ids, mini, full, or path/to/file.py:NAME")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the dataset folder")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads (default: 1)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints the folder of each scenario's data."""
    from harness.running.environment import pinned_threads
    from harness.running.selection import select_scenarios
    from lamofcbench.builders import BUILDERS
    from lamofcbench.errors import DataError

    for scenario in select_scenarios(args.scenarios):
        if scenario.builder is None:
            raise DataError(f"{scenario.id} has no builder; its data are imported or downloaded, and named with --data")
        builder = BUILDERS.get(scenario.builder, relative_to=scenario.origin)()
        with pinned_threads(args.threads):
            folder = builder.build(scenario, args.output, progress=not args.quiet)
        print(folder, flush=True)
