"""`lamofcbench report`: tables, summary.json, curves and an HTML page of a results folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands import _common

HELP = "report on results: tables, summary.json, curves, an HTML page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="the results folder (default: results)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the report goes (default: RESULTS/report)")
    parser.add_argument(
        "--reference", metavar="CODEC", help="what BD-rates refer to (default: uniform, where there are results of it)"
    )
    parser.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="draws for the intervals; 0 for none (default: 1000)"
    )
    parser.add_argument(
        "--scenarios", nargs="+", default=[], metavar="FILE:NAME", help="scenarios of your own that results are of"
    )
    parser.add_argument(
        "--no-bound", action="store_true", help="leave out the Gaussian bound, which reads calibration data"
    )
    _common.add_data_argument(parser)
    parser.add_argument("--full", action="store_true", help="every table and rate point, for a wide terminal")
    parser.add_argument("--quiet", action="store_true", help="no tables, only the paths")


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints what it found, then the bare paths of markdown, figure and page."""
    from harness.results.place import require_folder
    from lamofcbench.errors import LaMoFCBenchError

    if args.bootstrap < 0:
        raise LaMoFCBenchError(f"--bootstrap is {args.bootstrap}; 0 leaves the intervals out, 1000 is usual")
    require_folder(args.results)

    from harness.report import terminal_brief, terminal_table, write_report  # behind what can be said without torch
    from harness.running.selection import select_scenarios

    own = select_scenarios(args.scenarios) if args.scenarios else []
    paths = write_report(
        args.results,
        args.output,
        args.reference,
        resamples=args.bootstrap,
        scenarios=own,
        bound=not args.no_bound,
        data=args.data,
    )
    if not args.quiet:
        (terminal_table if args.full else terminal_brief)(paths.summary)
    for path in (paths.markdown, paths.overview, paths.page):
        print(path, flush=True)
