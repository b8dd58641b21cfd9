"""`lamofcbench pin`: asks the Hub at which commits the models of scenarios stand, and writes them down."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "pin the models of scenarios to the Hub's current commits, in a file of your own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO", help="ids, full, or path/to/file.py:NAME")
    parser.add_argument(
        "--pins", type=Path, metavar="FILE",
        help="where to write them; runs and builds read the file that LAMOFCBENCH_PINS names "
        "(default: ~/.config/lamofcbench/pins.json)",
    )  # fmt: skip
    parser.add_argument("--revision", metavar="NAME", help="a branch, tag or commit (default: the main branch)")


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints each repository with its commit, and on stderr what became of it."""
    from harness.console import tell
    from harness.running.selection import select_scenarios
    from lamofcbench.models.pinning import repositories
    from lamofcbench.pins import current_commit, pins_file, write_pin

    file = args.pins.absolute() if args.pins else pins_file()
    seen: set[str] = set()
    for scenario in select_scenarios(args.scenarios):
        found = repositories(scenario)
        if not found:
            tell(f"{scenario.id} reads no model from the Hub")
        for repo, declared in found.values():
            if repo in seen:
                continue
            seen.add(repo)
            if declared is not None:
                print(f"{repo} {declared}", flush=True)
                tell(f"{repo} is pinned by the declaration of {scenario.id}")
                continue
            commit = current_commit(repo, args.revision, file)
            before = write_pin(repo, commit, file)
            print(f"{repo} {commit}", flush=True)
            was = f", which had {before}" if before not in (None, commit) else ""
            tell(f"{repo} is pinned in {file}{was}")
