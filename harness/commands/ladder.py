"""`lamofcbench ladder`: rate points laid out by calibration scores, by one rule for every codec."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands import _common

HELP = "lay out codecs' rate points on scenarios, by scores on calibration samples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "scenarios", nargs="+", metavar="SCENARIO", help="ids, mini, small, full, or path/to/file.py:NAME"
    )
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
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads (default: 1)")


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints the points of each ladder, then its path."""
    import functools

    from harness.running import environment, ladder, selection
    from harness.running.calibration_scores import CalibrationScores
    from lamofcbench.codecs.registry import CODECS
    from lamofcbench.errors import LaMoFCBenchError
    from lamofcbench.models.loading import load_model

    if args.limit is not None and args.limit < 1:
        raise LaMoFCBenchError(f"--limit is {args.limit}; at least 1 sample is needed")
    classes = [CODECS.get(name) for name in args.codecs]
    for codec_class in classes:
        codec_class.require_available()
        ladder.rate_parameter(codec_class)  # before anything is computed
    device = environment.choose_device(args.device)
    with environment.pinned_threads(args.threads):
        for scenario in selection.select_scenarios(args.scenarios):
            model = functools.cache(lambda scenario=scenario: load_model(scenario, device=device))
            scores = CalibrationScores(
                scenario, model, args.data, args.limit, args.seed, device, args.ladders / ".sensitivity"
            )
            for codec_class in classes:
                path = ladder.ladder_path(args.ladders, scenario, codec_class.name)
                found = ladder.measured_before(path, codec_class, scores.identity)
                if found is None or not found.complete:
                    seen = found.seen if found is not None else ()
                    keep = functools.partial(ladder.write_ladder, path)
                    found = ladder.lay_out(codec_class, scenario, scores.of, scores.identity, seen, keep)
                    keep(found)
                    _tell(scenario.id, found)
                print(path, flush=True)


def _tell(scenario: str, found) -> None:  # type: ignore[no-untyped-def]  # Ladder, imported late
    rows = [("scenario", "codec", found.parameter, "EBPFP", "retention %")]
    rows += [
        (scenario, found.codec, point.params[found.parameter], f"{point.ebpfp:.3g}", f"{100 * point.retention:.1f}")
        for point in found.points
    ]
    _common.print_table(rows)
    for end in found.open_ends:
        print(f"{scenario} {found.codec}: the {end} rate is the parameter's last, not where retention leaves the range")
