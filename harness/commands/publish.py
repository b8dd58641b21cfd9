"""`lamofcbench publish`: a dataset folder as a dataset repository on the Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands import _common

HELP = "verify a dataset folder and upload what the Hub's repository lacks of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a dataset folder, of `build` or `import`")
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="a dataset repository; made if there is none")
    parser.add_argument("--private", action="store_true", help="a repository that is made is private")
    parser.add_argument("--quiet", action="store_true", help="no line a step")


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints the address of the repository at the new commit."""
    from dataset_builders.publishing.upload import publish

    tell = _common.teller(args)
    done = publish(args.folder, args.repo, private=args.private, tell=tell)
    tell(f"{done.sent_files} shards sent, {done.present_files} were there")
    print(done.url)
