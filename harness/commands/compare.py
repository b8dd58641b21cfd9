"""`lamofcbench compare`: what changed between two runs beyond noise."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "compare two results folders: what changed beyond noise"

EXIT_REGRESSION = 3
"""Of its own, so that a script tells a regression from a failure."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("run_a", type=Path, metavar="RUN_A", help="the first results folder, usually the older one")
    parser.add_argument("run_b", type=Path, metavar="RUN_B", help="the second")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--all", action="store_true", help="also list what did not change")
    parser.add_argument(
        "--fail-on-regression", action="store_true", help=f"exit with {EXIT_REGRESSION} where anything got worse"
    )
    parser.add_argument(
        "--confidence", type=float, default=0.99, metavar="P", help="of the intervals that decide (default: 0.99)"
    )
    parser.add_argument(
        "--speed-margin",
        type=float,
        default=0.5,
        metavar="X",
        help="a factor of 1 + X in speed is noise (default: 0.5)",
    )
    parser.add_argument("--no-speed", action="store_true", help="leave speeds out, for runs under different load")
    parser.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="draws (default: 1000)")
    parser.add_argument(
        "--scenarios", nargs="+", default=[], metavar="FILE:NAME", help="scenarios of your own that results are of"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints what changed, or all of it as JSON."""
    from harness.report.compare import compare_runs
    from harness.report.render.terminal import terminal_comparison
    from harness.running.selection import select_scenarios
    from lamofcbench.errors import LaMoFCBenchError

    if args.bootstrap < 1:
        raise LaMoFCBenchError(f"--bootstrap is {args.bootstrap}; noise cannot be told without draws, 1000 is usual")
    if not 0 < args.confidence < 1:
        raise LaMoFCBenchError(f"--confidence is {args.confidence}; it lies between 0 and 1, such as 0.99")
    if not args.speed_margin >= 0:
        raise LaMoFCBenchError(f"--speed-margin is {args.speed_margin}; it is a share such as 0.25")
    comparison = compare_runs(
        args.run_a,
        args.run_b,
        resamples=args.bootstrap,
        confidence=args.confidence,
        speed_margin=args.speed_margin,
        speeds=not args.no_speed,
        scenarios=select_scenarios(args.scenarios) if args.scenarios else [],
    )
    if args.json:
        print(json.dumps(comparison.model_dump(mode="json"), indent=2), flush=True)  # in ASCII, for any terminal
    else:
        terminal_comparison(comparison, everything=args.all)
    return EXIT_REGRESSION if args.fail_on_regression and comparison.changes("worse") else 0
