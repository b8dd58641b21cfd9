"""`lamofcbench import`: published features into a dataset folder."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write published features (.zst) as a dataset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("scenario", metavar="SCENARIO", help="the id of a full scenario, or path/to/file.py:NAME")
    parser.add_argument(
        "--source", type=Path, required=True, metavar="DIR", help="the folder of the .zst files, or one above it"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the dataset folder")
    parser.add_argument(
        "--calibration", type=Path, metavar="DIR", help="files of other samples, for the calibration split"
    )
    parser.add_argument("--raw", type=Path, metavar="DIR", help="the raw data, where references are found")
    parser.add_argument(
        "--references", type=Path, metavar="FILE", help="a JSON object of sample ids and references, instead of --raw"
    )
    parser.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="end at a file that cannot be imported, or leave it out and say so (default: stop)",
    )
    parser.add_argument("--num-processes", type=int, default=1, metavar="N", help="processes (default: 1)")


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints the folder of the data, and says on standard error what is to be known of them."""
    from dataset_builders.full.published.importing import import_published
    from harness.console import tell
    from harness.running.environment import pinned_threads
    from harness.running.selection import select_scenarios
    from lamofcbench.errors import LaMoFCBenchError

    if args.num_processes < 1:
        raise LaMoFCBenchError(f"num-processes is {args.num_processes}; at least 1 is needed")
    (scenario, *others) = select_scenarios([args.scenario])
    if others:
        raise LaMoFCBenchError(f"{args.scenario} means several scenarios; each is imported from a folder of its own")
    if scenario.edition in ("mini", "small"):
        raise LaMoFCBenchError(f"{scenario.id} is not a scenario of the full edition, of which features were published")
    with pinned_threads(1):
        imported = import_published(
            scenario,
            args.source,
            args.output,
            calibration=args.calibration,
            raw=args.raw,
            references=args.references,
            on_error=args.on_error,
            processes=args.num_processes,
            tell=tell,
        )
    declared = {"test": scenario.test_samples, "calibration": scenario.calibration_samples}
    for split, samples in imported.samples.items():
        if samples != declared[split]:
            tell(f"{scenario.id}: {samples} {split} samples were imported; the scenario declares {declared[split]}")
    if imported.taken_over:
        tell(f"{imported.taken_over} samples were taken over from an import that had not come to its end")
    if imported.widened:
        tell(f"the files hold {imported.widened}, stored here as the float32 that {scenario.id} declares; exact")
    if imported.coded is not None:
        tell(f"these are features after coding; what their codec said of them is in {imported.coded}")
    print(imported.folder, flush=True)
