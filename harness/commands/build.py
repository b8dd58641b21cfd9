"""`lamofcbench build`: raw data through the front, into a dataset folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands import _common

HELP = "run fronts over raw data and write the features as a dataset; rerunning resumes in the full edition"
FULL_OPTIONS = ("raw", "calibration", "samples", "definitions", "device_map", "offload", "max_memory")
"""Options that only builders of the full edition take."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO", help=_common.SCENARIOS)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the dataset folder")
    full = parser.add_argument_group("full edition")
    full.add_argument("--raw", type=Path, metavar="DIR", help="the raw test samples (default: the task's on the Hub)")
    full.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="those of calibration (default: in --raw where that is named, else on the Hub)",
    )
    full.add_argument(
        "--samples", type=Path, metavar="FILE",
        help="JSON list of the test samples (default: the first of the order that docs/full-edition.md states)",
    )  # fmt: skip
    full.add_argument(
        "--definitions", type=Path, metavar="DIR", help="machine/clu/custom_tasks of a checkout of the published code"
    )
    full.add_argument("--num-processes", type=int, default=1, metavar="N", help="processes on this machine")
    _common.add_placement_arguments(full)
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="cpu, cuda or cuda:N (default: cuda where there is one, cpu for mini and small)",
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads (default: 1)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints the folder of each scenario's data."""
    from harness.running import launch

    def work(team: launch.Team) -> int:
        return _build(args, team)

    return launch.work_as_team(args.num_processes, args.argv, work, check=lambda: _plan(args), debug=args.debug)


def _plan(args: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Scenarios with their builders, and where models lie; what is wrong shows before the first one is built."""
    from dataset_builders.base import Builder
    from dataset_builders.full.builder import FullBuilder
    from dataset_builders.full.raw import RawData
    from harness.running.selection import select_scenarios
    from lamofcbench.errors import DataError

    raw = RawData(args.raw, args.calibration, args.samples, args.definitions)
    placement = _common.placement_of(args, "whole")
    plan = []
    for scenario in select_scenarios(args.scenarios):
        builder_class = builder_of(scenario)
        if issubclass(builder_class, FullBuilder):
            plan.append((scenario, builder_class(raw)))
            continue
        named = next((name for name in FULL_OPTIONS if getattr(args, name) is not None), None)
        if named is not None:
            raise DataError(f"{scenario.id} is built without --{named.replace('_', '-')}; that is for the full edition")
        if args.device is not None and not issubclass(builder_class, Builder):
            raise DataError(f"{scenario.id} has a builder that takes no --device")
        plan.append((scenario, builder_class()))
    return plan, placement


def builder_of(scenario):
    """The class that builds a scenario: the one it names, else, in the full edition, the one with its track's id.

    Raises:
        DataError: if there is none.
    """
    from lamofcbench.builders import BUILDERS
    from lamofcbench.errors import DataError

    if scenario.builder is not None:
        return BUILDERS.get(scenario.builder, relative_to=scenario.origin)
    track = scenario.variant_of or scenario.id
    if scenario.edition != "full" or track not in BUILDERS.names():
        raise DataError(f"{scenario.id} has no builder; its data are imported or downloaded, and named with --data")
    return BUILDERS.get(track)


def _build(args: argparse.Namespace, team) -> int:  # type: ignore[no-untyped-def]
    from dataset_builders.full.builder import FullBuilder
    from harness.running.environment import choose_device, pinned_threads

    plan, placement = _plan(args)
    for scenario, builder in plan:
        with pinned_threads(args.threads):
            if isinstance(builder, FullBuilder):
                device = choose_device(args.device, team.local_rank)
                progress = not args.quiet and team.leads
                folder = builder.build(
                    scenario, args.output, progress=progress, device=device, team=team, placement=placement
                )
            else:
                # The smaller editions are built on the CPU unless told otherwise: their data are the same everywhere.
                chosen = {} if args.device is None else {"device": choose_device(args.device)}
                folder = team.from_leader(
                    lambda scenario=scenario, builder=builder, chosen=chosen: builder.build(
                        scenario, args.output, progress=not args.quiet, **chosen
                    )
                )
        if team.leads:
            print(folder, flush=True)
    return 0
