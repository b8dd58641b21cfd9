"""`lamofcbench run`: codecs on scenarios, into a results folder."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

from harness.commands import _common, _metric_options

HELP = "run codecs on scenarios; rerunning resumes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--scenarios", nargs="+", required=True, metavar="A,B", help=_common.SCENARIOS)
    parser.add_argument(
        "--codecs", nargs="+", required=True, metavar="SPEC",
        help="ID[:key=value,...]; ID is a name, path/to/file.py:Class, a saved folder or org/name[@commit]; "
        "without parameters the ladder of rate points runs; all: every registered codec",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="where results are kept (default: results)"
    )
    _common.add_data_argument(parser)
    _metric_options.add_argument(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="report the first N samples only")
    parser.add_argument(
        "--points",
        type=int,
        metavar="N",
        help="only N rate points of each ladder: about its knee if --ladders tells it, else evenly without the first",
    )
    parser.add_argument(
        "--ladders", type=Path, metavar="DIR",
        help="rate points of codecs that are named without parameters, as `lamofcbench ladder` laid them out",
    )  # fmt: skip
    parser.add_argument(
        "--fit-on", nargs="+", default=[], metavar="A,B",
        help="fit codecs on the calibration samples of these scenarios, together, in place of those that they code; of "
        "the same backbone",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="estimate time, memory and disk; write no results")
    parser.add_argument("--num-processes", type=int, default=1, metavar="N", help="processes on this machine")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of every random generator (default: 0)")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    _common.add_placement_arguments(parser)
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads a process (default: 1)")
    parser.add_argument(
        "--overwrite", choices=("never", "missing", "always"), default="missing",
        help="missing: compute what is not there (default); never: also keep shorter results; always: compute again",
    )  # fmt: skip
    parser.add_argument(
        "--bitstreams", action=argparse.BooleanOptionalAction, default=None,
        help="keep the coded bytes (default: except in the full edition)",
    )  # fmt: skip
    parser.add_argument(
        "--verify-samples", type=int, default=3, metavar="N",
        help="samples of each new result that another process decodes, from the saved codec and the bytes alone, to "
        "compare bit for bit (default: 3; 0: none)",
    )  # fmt: skip
    _common.add_trust_argument(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--paths", action="store_true", help="print the folder of each result and nothing else")
    output.add_argument("--json", action="store_true", help="print each rate point's figures and folder as JSON")
    parser.add_argument("--quiet", action="store_true", help="no lines of rate points and no bars, only the table")


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints a line for each rate point and a table, or what --paths or --json ask for."""
    from harness.running import launch

    def work(team: launch.Team) -> int:
        if args.dry_run:
            return _estimate(args, team) if team.leads else 0
        return _run(args, team)

    processes = min(args.num_processes, 1) if args.dry_run else args.num_processes
    return launch.work_as_team(processes, args.argv, work, check=lambda: _check(args), debug=args.debug)


def _settings(args: argparse.Namespace):  # type: ignore[no-untyped-def]  # RunSettings, imported late
    from harness.running.settings import RunSettings

    return RunSettings(
        results=args.results,
        data=args.data,
        limit=args.limit,
        seed=args.seed,
        device=args.device,
        threads=args.threads,
        overwrite=args.overwrite,
        bitstreams=args.bitstreams,
        verify_samples=args.verify_samples,
        trust_code=args.trust_code,
        progress=not args.quiet,
        argv=tuple(args.argv),
        fit_on=_sources(args),
        ladders=args.ladders,
        placement=_common.placement_of(args, "tail"),
    )


def _sources(args: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The scenarios of ``--fit-on``."""
    from harness.running import selection

    return tuple(selection.select_scenarios(args.fit_on)) if args.fit_on else ()


def _check(args: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The runs asked for, each scenario with named codecs; what is wrong with any shows before the first starts."""
    from harness.results import place, scoring
    from harness.running import selection, transfer
    from lamofcbench.errors import LaMoFCBenchError

    if args.ladders is not None and not args.ladders.is_dir():
        raise LaMoFCBenchError(f"--ladders {args.ladders} is no folder; `lamofcbench ladder` makes one")
    place.require_no_file(args.results)
    settings = _settings(args)
    plans = []
    scenarios = selection.select_scenarios(args.scenarios)
    for scenario in _metric_options.with_options(scenarios, args.metric_options):
        for source in settings.fit_on:
            transfer.require_same_backbone(source, scenario)
        scoring.make_metric(scenario)
        codecs = selection.select_named(
            args.codecs, scenario, trust_code=args.trust_code, points=args.points, ladders=args.ladders
        )
        plans.append((scenario, codecs))
    return plans


def _run(args: argparse.Namespace, team) -> int:  # type: ignore[no-untyped-def]
    from harness.running.decoding_process import DecodingProcess

    with DecodingProcess() as decoder:
        if team.leads and args.verify_samples > 0:
            decoder.start()  # before the imports that follow: the process needs the same seconds for its own
        from harness.commands._run_display import RunDisplay
        from harness.running.progress import Progress
        from harness.running.runner import ScenarioRunner

        settings, plans = _settings(args), _check(args)
        bare = args.paths or args.json
        display = RunDisplay(plans, lines=not (args.quiet or bare), bars=not args.quiet) if team.leads else None
        with display or contextlib.nullcontext():
            for scenario, codecs in plans:
                runner = ScenarioRunner(scenario, settings, team, decoder, display or Progress())
                runner.run([codec for _, codec in codecs])
        if display is not None:
            _print_result(args, display)
    return 0


def _print_result(args: argparse.Namespace, display) -> None:  # type: ignore[no-untyped-def]
    if args.paths:
        for shown in display.points:
            print(shown.finished.folder, flush=True)
    elif args.json:
        print(json.dumps(display.as_plain(), indent=2), flush=True)
    else:
        display.print_summary(thinned=args.points is not None)


def _estimate(args: argparse.Namespace, team) -> int:  # type: ignore[no-untyped-def]
    from harness.running import estimate
    from harness.running.runner import ScenarioRunner

    settings = _settings(args)
    estimates = [
        line
        for scenario, codecs in _check(args)
        for line in estimate.estimate(
            ScenarioRunner(scenario, settings, team), [codec for _, codec in codecs], args.num_processes
        )
    ]
    _common.print_table(estimate.table(estimates, args.num_processes))
    return 0
