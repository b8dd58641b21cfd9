"""How closely to look at a submission: arguments that several commands share."""

from __future__ import annotations

import argparse
import secrets
from typing import TYPE_CHECKING

from harness.commands import _common
from harness.console import MAX_LINE
from lamofcbench.errors import one_line

if TYPE_CHECKING:
    from harness.submission.validate import Scrutiny
    from harness.submission.verdict import Verdict


DRAWN = object()
"""In place of a seed: one is to be drawn."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares them."""
    parser.add_argument(
        "--scenarios", nargs="+", default=[], metavar="FILE:NAME", help="scenarios of your own that results are of"
    )
    _common.add_data_argument(parser)
    parser.add_argument("--full", action="store_true", help="decode and predict every sample, fit codecs anew")
    parser.add_argument(
        "--fresh", type=int, nargs="?", const=DRAWN, metavar="SEED",
        help="also code new samples of the mini edition's generators, drawn by a seed that nobody can know before, or "
        "by that of a verdict, to repeat it",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, metavar="N", help="draws what is looked at (default: one that nobody can know before)"
    )
    parser.add_argument(
        "--decode-seconds", type=float, default=300.0, metavar="S", help="for one sample (default: 300)"
    )
    parser.add_argument(
        "--fit-seconds",
        type=float,
        default=3600.0,
        metavar="S",
        help="for one codec to learn (default: 3600)",
    )
    parser.add_argument(
        "--memory-gib", type=float, default=8.0, metavar="N", help="for the process that decodes (default: 8)"
    )
    parser.add_argument("--device", metavar="NAME", help="of the tail: cpu, cuda or cuda:N (default: cuda if there is)")
    _common.add_trust_argument(parser)
    parser.add_argument("--quiet", action="store_true", help="no line a step")


def scrutiny(args: argparse.Namespace) -> Scrutiny:
    """What the arguments say.

    Raises:
        LaMoFCBenchError: for a number that cannot be.
    """
    from harness.running.confinement import Limits
    from harness.running.selection import select_scenarios
    from harness.submission.validate import Scrutiny
    from lamofcbench.errors import LaMoFCBenchError

    for name in ("seed", "fresh"):
        value = getattr(args, name)
        if value not in (None, DRAWN) and not 0 <= value < 2**63:
            raise LaMoFCBenchError(f"--{name} is {value}; it may be 0 to 2**63 - 1")
    for name in ("decode_seconds", "fit_seconds", "memory_gib"):
        if not 0 < getattr(args, name) < 1e6:
            raise LaMoFCBenchError(f"--{name.replace('_', '-')} is {getattr(args, name):g}; it must be more than 0")
    return Scrutiny(
        data=args.data,
        scenarios=tuple(select_scenarios(args.scenarios)) if args.scenarios else (),
        trust_code=args.trust_code,
        full=args.full,
        seed=args.seed,
        fresh=secrets.randbits(63) if args.fresh is DRAWN else args.fresh,
        decode_seconds=args.decode_seconds,
        fit_seconds=args.fit_seconds,
        device=args.device,
        limits=Limits(memory_bytes=int(args.memory_gib * 2**30)),
    )


def show(verdict: Verdict) -> None:
    """Prints a verdict: its faults, what was looked at, and its level last."""
    for fault in verdict.faults:
        print(one_line(f"fault: {fault}", MAX_LINE))
    for check in verdict.checked:
        print(one_line(f"checked: {check}", MAX_LINE))
    print(f"{verdict.submission}: {verdict.level} (seed {verdict.seed}, files {verdict.digest[:16]})")
