"""`lamofcbench ladder`: rate points laid out by calibration scores, by one rule for every codec."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands import _common

if TYPE_CHECKING:
    from harness.running.ladder import Ladder
    from harness.running.launch import Team
    from lamofcbench.codecs.base import Codec
    from lamofcbench.scenarios.base import Scenario

HELP = "lay out codecs' rate points on scenarios, by scores on calibration samples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO", help=_common.SCENARIOS)
    parser.add_argument(
        "--codecs", nargs="+", required=True, metavar="ID", help="names or path/to/file.py:Class, without parameters"
    )
    parser.add_argument(
        "--ladders", type=Path, default=Path("ladders"), metavar="DIR",
        help="where ladders are kept, for `run --ladders`; what is measured there is not measured again "
        "(default: ladders)",
    )  # fmt: skip
    _common.add_data_argument(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="score N calibration samples at most")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of every random generator (default: 0)")
    parser.add_argument(
        "--num-processes", type=int, default=1, metavar="N",
        help="processes on this machine, which deal out scenarios, or the codecs of a single one (default: 1)",
    )  # fmt: skip
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints the points of each ladder, then its path."""
    from harness.running import launch

    def work(team: launch.Team) -> int:
        scenarios, classes = _plan(args)
        team.together(lambda: _lay_out(args, team, scenarios, classes))
        return 0

    return launch.work_as_team(args.num_processes, args.argv, work, check=lambda: _plan(args), debug=args.debug)


def _plan(args: argparse.Namespace) -> tuple[Sequence[Scenario], Sequence[type[Codec]]]:
    """Scenarios and codecs; what is wrong with them shows before anything is computed."""
    from harness.running import ladder, selection
    from lamofcbench.codecs.registry import CODECS
    from lamofcbench.errors import LaMoFCBenchError

    if args.limit is not None and args.limit < 1:
        raise LaMoFCBenchError(f"--limit is {args.limit}; at least 1 sample is needed")
    classes = [CODECS.get(name) for name in args.codecs]
    for codec_class in classes:
        codec_class.require_available()
        ladder.rate_parameter(codec_class)
    return selection.select_scenarios(args.scenarios), classes


def _lay_out(
    args: argparse.Namespace, team: Team, scenarios: Sequence[Scenario], classes: Sequence[type[Codec]]
) -> None:
    """This process's share of the ladders: whole scenarios where there are enough, as codecs share model and anchor."""
    import functools

    from harness.running import environment, ladder
    from harness.running.calibration_scores import CalibrationScores
    from lamofcbench.models.loading import load_model

    by_scenario = len(scenarios) >= team.size
    device = environment.choose_device(args.device, team.local_rank)
    with environment.pinned_threads(args.threads):
        for scenario in scenarios[team.rank :: team.size] if by_scenario else scenarios:
            model = functools.cache(lambda scenario=scenario: load_model(scenario, device=device))
            scores = CalibrationScores(
                scenario, model, args.data, args.limit, args.seed, device, args.ladders / ".sensitivity"
            )
            for codec_class in classes if by_scenario else classes[team.rank :: team.size]:
                path = ladder.ladder_path(args.ladders, scenario, codec_class.name)
                found = ladder.measured_before(path, codec_class, scores.identity)
                if found is None or not found.complete:
                    seen = found.seen if found is not None else ()
                    keep = functools.partial(ladder.write_ladder, path)
                    found = ladder.lay_out(codec_class, scenario, scores.of, scores.identity, seen, keep)
                    keep(found)
                    _tell(scenario.id, found)
                print(path, flush=True)


def _tell(scenario: str, found: Ladder) -> None:
    rows = [("scenario", "codec", found.parameter, "EBPFP", "retention %")]
    rows += [
        (scenario, found.codec, point.params[found.parameter], f"{point.ebpfp:.3g}", f"{100 * point.retention:.1f}")
        for point in found.points
    ]
    _common.print_table(rows)
    for end in found.open_ends:
        print(f"{scenario} {found.codec}: the {end} rate is the parameter's last, not where retention leaves the range")
