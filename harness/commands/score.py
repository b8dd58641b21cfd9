"""`lamofcbench score`: scores results again from their folders alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.commands import _common
from harness.console import one_line

HELP = "score finished results again, with no model; --decode also checks their bitstreams"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="the results folder")
    parser.add_argument(
        "--scenarios", nargs="+", default=[], metavar="FILE:NAME", help="scenarios of your own that results are of"
    )
    parser.add_argument("--update", action="store_true", help="write scores that differ from the recorded ones")
    parser.add_argument("--decode", action="store_true", help="decode the kept bitstreams and check their distortions")
    _common.add_data_argument(parser)
    _common.add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints each result's folder, and its score on stderr."""
    from harness.results import rescoring, store
    from harness.results.result import PROTOCOL_VERSION
    from harness.running.selection import select_scenarios
    from lamofcbench.errors import ResultsError
    from lamofcbench.scenarios.base import SCENARIOS
    from lamofcbench.storage import open_split

    own = {scenario.id: scenario for scenario in (select_scenarios(args.scenarios) if args.scenarios else [])}
    splits = {}
    for folder in store.find_results(args.results):
        result = folder.read_result()
        assert result is not None  # found by this very file
        if not result.is_current:
            print(
                f"lamofcbench: {folder.path} is left out: it was made by another protocol "
                f"({result.protocol_version}, this version has {PROTOCOL_VERSION}); run it again",
                file=sys.stderr,
            )
            continue
        scenario = own.get(result.scenario)
        if scenario is None and result.scenario not in SCENARIOS.names():
            raise ResultsError(
                f"{folder.path} is of scenario {result.scenario!r}, which is not registered; name its file with "
                "--scenarios path/to/file.py:NAME"
            )
        scenario = scenario or SCENARIOS.get(result.scenario)
        try:
            rescored = rescoring.rescore(folder, scenario, update=args.update)
        except rescoring.SupersededError as error:
            print(f"lamofcbench: {error}", file=sys.stderr)
            continue
        folder = store.ResultFolder(folder.path.with_name(rescored.config_hash))
        if args.decode:
            if scenario.id not in splits:
                splits[scenario.id] = open_split(scenario, "test", args.data)
            rescoring.check_decoding(folder, scenario, splits[scenario.id], trust_code=args.trust_code)
        line = f"{scenario.ref} {result.codec.name} {result.metric} {rescored.score:.6g}"
        print(one_line(line), file=sys.stderr)
        print(folder.path, flush=True)
