"""`lamofcbench recommend`: the operating points that keep the task, by rate, by speed and by time over a link."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lamofcbench.scenarios.kinds import KINDS

HELP = "which codec to take, at which parameters, for a budget of rate, link or state"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="the results folder (default: results)"
    )
    parser.add_argument(
        "--keep", type=float, default=95, metavar="PERCENT", help="of the score, on every scenario (default: 95)"
    )
    parser.add_argument(
        "--link", type=float, default=10, metavar="MBIT", help="the link's rate in 10^6 bits a second (default: 10)"
    )
    parser.add_argument("--target-ebpfp", type=float, metavar="R", help="at most this rate; uncoded is 32")
    parser.add_argument("--max-state", metavar="SIZE", help="at most so many bytes of learned parameters, such as 10MB")
    parser.add_argument("--features", choices=KINDS, help="only this kind of features (default: each, and all)")
    parser.add_argument(
        "--scenarios", nargs="+", default=[], metavar="FILE:NAME", help="scenarios of your own that results are of"
    )
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints an answer for each edition and kind of features."""
    from harness.console import tell
    from harness.results.place import require_folder
    from lamofcbench.errors import LaMoFCBenchError

    if not 0 < args.keep <= 100:
        raise LaMoFCBenchError(f"--keep is {args.keep:g}; it is a percentage such as 95")
    if not args.link > 0:
        raise LaMoFCBenchError(f"--link is {args.link:g}; it is a rate in Mbit/s such as 10")
    if args.target_ebpfp is not None and not args.target_ebpfp > 0:
        raise LaMoFCBenchError(f"--target-ebpfp is {args.target_ebpfp:g}; uncoded features are at 32, a target below")
    max_state_bytes = None if args.max_state is None else _bytes(args.max_state)
    require_folder(args.results)

    from harness.report.compile import compile_summary  # behind what can be said without torch
    from harness.report.recommend import Question, recommend
    from harness.report.render.terminal import terminal_recommendation
    from harness.running.selection import select_scenarios

    question = Question(
        keep_percent=args.keep,
        link_mbit_per_s=args.link,
        target_ebpfp=args.target_ebpfp,
        max_state_bytes=max_state_bytes,
    )
    own = select_scenarios(args.scenarios) if args.scenarios else []
    summary = compile_summary(args.results, resamples=0, scenarios=own, bound=False)
    for warning in summary.warnings:
        tell(f"warning: {warning}")  # on stderr, beside the answers and their JSON
    answers = recommend(summary, question, args.features)
    if not answers:
        raise LaMoFCBenchError(f"{args.results} has no results of {args.features or 'any scenario that is known here'}")
    if args.json:
        print(json.dumps([answer.model_dump(mode="json") for answer in answers], indent=2), flush=True)
    else:
        terminal_recommendation(answers, question)


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def _bytes(size: str) -> int:
    """Bytes of a size as people write it.

    Example:
        >>> _bytes("10MB"), _bytes("1.5 MiB"), _bytes("400")
        (10000000, 1572864, 400)
    """
    from lamofcbench.errors import LaMoFCBenchError

    number = size.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = size.strip()[len(number) :].strip().upper()
    try:
        value = float(number) * _UNITS[unit]
        if not 0 <= value < 2**63:
            raise ValueError
    except (ValueError, KeyError):
        raise LaMoFCBenchError(f"--max-state is {size!r}; it is a size such as 10MB or 400KiB") from None
    return round(value)
