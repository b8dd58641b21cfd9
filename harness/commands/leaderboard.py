"""`lamofcbench leaderboard`: results and checked submissions as one static page."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from harness.commands import _common

HELP = "build a leaderboard: one static page, CSV and JSON"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--results", nargs="+", type=Path, default=[], metavar="DIR",
        help="results folders, of `run` or in the layout of a results repository (default: results)",
    )  # fmt: skip
    parser.add_argument("--repo", metavar="ORG/NAME", help="a results repository on the Hub, beside folders or alone")
    parser.add_argument("--revision", metavar="REV", help="its commit, tag or branch (default: the newest commit)")
    parser.add_argument(
        "--output", type=Path, default=Path("leaderboard"), metavar="DIR", help="where it goes (default: leaderboard)"
    )
    parser.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="draws for the intervals; 0 for none (default: 1000)"
    )
    parser.add_argument("--quiet", action="store_true", help="only the paths")


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints the bare paths of page, CSV and JSON."""
    from harness.leaderboard.compile import compile_board
    from harness.leaderboard.repository import fetched
    from harness.leaderboard.write import write_board
    from lamofcbench.errors import LaMoFCBenchError

    if args.bootstrap < 0:
        raise LaMoFCBenchError(f"--bootstrap is {args.bootstrap}; 0 leaves the intervals out, 1000 is usual")
    if args.revision and not args.repo:
        raise LaMoFCBenchError("--revision is a commit of a results repository; name that with --repo")
    tell = _common.teller(args)
    folders = args.results or ([] if args.repo else [Path("results")])
    sources = [folder.resolve().name for folder in folders]
    with contextlib.ExitStack() as stack:
        if args.repo:
            folder, commit = stack.enter_context(fetched(args.repo, args.revision))
            folders = [folder, *folders]
            sources.insert(0, f"{args.repo}@{commit}")
        board = compile_board(folders, ", ".join(sources), resamples=args.bootstrap, tell=tell)
    for one in (*board.refused, *board.left_out):
        tell(f"not shown: {one.what}: {one.reason}")
    for path in write_board(board, args.output):
        print(path, flush=True)
