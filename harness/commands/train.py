"""`lamofcbench train`: the networks of a learned codec, on calibration samples."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands import _common

HELP = "train a learned codec's networks on calibration samples; rerunning resumes"
DEFAULT_STEPS = 20000
WARM_SHARE = 0.5
"""A rate point that starts from other weights gets at most this share of the steps."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("codec", metavar="CODEC", help="hyperprior or elic")
    parser.add_argument("--scenarios", nargs="+", required=True, metavar="A,B", help=_common.SCENARIOS)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="weights and their cards")
    parser.add_argument(
        "--lmbda", nargs="+", type=float, metavar="L", help="rate points (default: the five published ones)"
    )
    parser.add_argument(
        "--widths", nargs="+", type=_widths, metavar="N,M",
        help="of transforms and latents, for all lambdas or for each (default: the published ones)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=int, default=DEFAULT_STEPS, metavar="N",
        help=f"at most, of a rate point that starts anew; others get half (default: {DEFAULT_STEPS})",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=int, default=16, metavar="N", help="crops a step, of the largest size (default: 16)"
    )
    parser.add_argument(
        "--crop", type=int, default=256, metavar="N", help="height and width of the largest crops (default: 256)"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3, metavar="X", help="at its peak (default: 0.001)")
    parser.add_argument(
        "--validate-every", type=int, default=100, metavar="N", help="steps between validations (default: 100)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and draws (default: 0)")
    parser.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="for resuming, and curves (default: OUTPUT/training)"
    )
    parser.add_argument(
        "--warm-start",
        type=Path,
        metavar="PATH",
        help="weights to start from, or a folder of such (default: the neighbour's)",
    )
    parser.add_argument(
        "--tune", nargs="+", default=(), metavar="REGEX",
        help="names of the parameters that rate points which start from other weights train and store (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--storage", choices=("int8", "fp16", "fp32"),
        help="of the weights (default: the smallest that costs at most 0.1 %% of validation loss)",
    )  # fmt: skip
    _common.add_data_argument(parser)
    parser.add_argument("--num-processes", type=int, default=1, metavar="N", help="processes on this machine")
    parser.add_argument(
        "--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of the layers (default: fp32)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads a process (default: 1)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints the file of each rate point's weights."""
    from harness.running import launch
    from harness.running.selection import select_scenarios
    from harness.training import ladder
    from harness.training.export import weights_file
    from harness.training.trainer import accelerator_options

    settings = _settings(args)

    def check() -> object:
        settings.plan(settings.lmbdas[0], data="", start="other weights", processes=args.num_processes)
        return select_scenarios(args.scenarios)

    def work(team: launch.Team) -> int:
        check()
        for card in ladder.train(settings, select_scenarios(args.scenarios), team):
            if team.leads:
                print(weights_file(settings.output, card["lmbda"]), flush=True)
        return 0

    return launch.work_as_team(
        args.num_processes, args.argv, work,
        check=check, options=accelerator_options(args.precision, settings.device_type), debug=args.debug,
    )  # fmt: skip


def _settings(args: argparse.Namespace):  # type: ignore[no-untyped-def]  # LadderSettings, imported late
    import inspect

    from harness.running import environment
    from harness.training.ladder import LadderSettings
    from lamofcbench.codecs.learned.networks import LAMBDAS, NETWORKS
    from lamofcbench.errors import UnknownNameError

    if args.codec not in NETWORKS:
        raise UnknownNameError("codec that can be trained", args.codec, NETWORKS)
    sizes = inspect.signature(NETWORKS[args.codec]).parameters
    return LadderSettings(
        codec=args.codec,
        lmbdas=tuple(args.lmbda or LAMBDAS),
        widths=tuple(args.widths or [(sizes["N"].default, sizes["M"].default)]),
        steps=args.steps,
        warm_steps=max(1, round(args.steps * WARM_SHARE)),
        batch_size=args.batch_size,
        crop=args.crop,
        seed=args.seed,
        learning_rate=args.learning_rate,
        validate_every=args.validate_every,
        precision=args.precision,
        threads=args.threads,
        device_type=environment.choose_device(args.device).partition(":")[0],
        output=args.output,
        checkpoints=args.checkpoints or args.output / "training",
        warm_start=args.warm_start,
        tuned=tuple(args.tune),
        storage=args.storage,
        data=args.data,
        progress=not args.quiet,
    )


def _widths(text: str) -> tuple[int, int]:
    first, second = text.split(",")
    return int(first), int(second)
