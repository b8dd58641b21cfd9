"""`lamofcbench push`: a saved codec, and what it reached, as a model repository on the Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands import _common

HELP = "push a saved codec to the Hub, with curves and results on its card"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "codec", metavar="FOLDER", help="a saved codec, such as results/<scenario>@<version>/<codec>/<hash>/codec"
    )
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="a model repository; made if there is none")
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="its results on whole test splits: curves, and all rate points"
    )
    parser.add_argument(
        "--dataset", metavar="ORG/NAME@COMMIT", help="the dataset that they are of: adds .eval_results/lamofcbench.yaml"
    )
    parser.add_argument("--licence", default="apache-2.0", metavar="ID", help="of the codec (default: apache-2.0)")
    parser.add_argument("--private", action="store_true", help="a repository that is made is private")
    _common.add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints the address of the commit."""
    from harness.publishing.eval_results import DatasetCommit
    from harness.publishing.push import push
    from lamofcbench.codecs.registry import load_saved
    from lamofcbench.errors import LaMoFCBenchError

    if args.dataset is not None and args.results is None:
        raise LaMoFCBenchError("--dataset says whose results are told; name their folder with --results")
    dataset = None if args.dataset is None else DatasetCommit.parse(args.dataset)
    codec = load_saved(args.codec, trust_code=args.trust_code)
    print(push(codec, args.repo, results=args.results, dataset=dataset, licence=args.licence, private=args.private))
