"""`lamofcbench score`: scores results again from their folders alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands import _common, _metric_options
from harness.console import MAX_LINE, tell
from lamofcbench.errors import one_line

if TYPE_CHECKING:
    from harness.results.result import Result
    from harness.results.store import ResultFolder
    from harness.running.decoding_process import DecodingProcess
    from lamofcbench.scenarios.base import Scenario
    from lamofcbench.storage.reader import SplitReader

HELP = "score finished results again, with no model; --decode also checks their bitstreams"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="the results folder (default: results)"
    )
    parser.add_argument(
        "--scenarios", nargs="+", default=[], metavar="FILE:NAME", help="scenarios of your own that results are of"
    )
    parser.add_argument(
        "--update", action="store_true", help="write scores that differ from the recorded ones, and what was verified"
    )
    parser.add_argument(
        "--decode", action="store_true", help="let another process decode the kept bitstreams, and check them"
    )
    _metric_options.add_argument(parser)
    _common.add_data_argument(parser)
    _common.add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints each result's folder, and its score on stderr."""
    from harness.results import store
    from harness.results.result import PROTOCOL_VERSION
    from harness.running.decoding_process import DecodingProcess
    from harness.running.selection import select_scenarios

    own = {scenario.id: scenario for scenario in (select_scenarios(args.scenarios) if args.scenarios else [])}
    splits: dict[str, SplitReader] = {}
    with DecodingProcess() as decoder:
        for folder in store.find_results(args.results):
            result = folder.read_result()
            assert result is not None  # found by this very file
            if result.is_current:
                scenario = _scenario_of(folder, result, own)
                if scenario.digest != result.scenario_digest and args.metric_options:
                    scenario = _metric_options.with_options([scenario], args.metric_options)[0]
                _score(folder, scenario, args, decoder, splits)
            else:
                tell(
                    f"{folder.path} is left out: it was made by another protocol ({result.protocol_version}, this "
                    f"version has {PROTOCOL_VERSION}); run it again, then remove it"
                )


def _scenario_of(folder: ResultFolder, result: Result, own: Mapping[str, Scenario]) -> Scenario:
    from lamofcbench.errors import ResultsError
    from lamofcbench.scenarios.base import SCENARIOS

    if result.scenario not in own and result.scenario not in SCENARIOS.names():
        raise ResultsError(
            f"{folder.path} is of scenario {result.scenario!r}, which is not registered; name its file with "
            "--scenarios path/to/file.py:NAME"
        )
    return own.get(result.scenario) or SCENARIOS.get(result.scenario)


def _score(
    folder: ResultFolder,
    scenario: Scenario,
    args: argparse.Namespace,
    decoder: DecodingProcess,
    splits: dict[str, SplitReader],
) -> None:
    """Scores one result, decodes it where that is asked for, and says what came of it."""
    from harness.report.points import params_label
    from harness.report.text import metric_name
    from harness.results import rescoring, store
    from lamofcbench.storage import open_split

    try:
        rescored = rescoring.rescore(folder, scenario, update=args.update)
    except rescoring.SupersededError as error:
        tell(str(error))
        return
    folder = store.ResultFolder(folder.path.with_name(rescored.config_hash))
    verified = ""
    if args.decode:
        if scenario.id not in splits:
            splits[scenario.id] = open_split(scenario, "test", args.data)
        test = splits[scenario.id]
        decoded = rescoring.check_decoding(folder, scenario, test, decoder, trust_code=args.trust_code)
        verified = f"; {decoded.samples} samples decode elsewhere, {decoded.identical} of them bit for bit"
        if args.update:
            rescoring.record_verification(folder, scenario, decoded)
    params = params_label(rescored.codec.params, [rescored.codec.params])
    point = f"{rescored.codec.name} {params}".rstrip()
    line = f"{scenario.ref} {point} {metric_name(rescored.metric)} {rescored.score:.6g}{verified}"
    print(one_line(line, MAX_LINE), file=sys.stderr)
    print(folder.path, flush=True)
