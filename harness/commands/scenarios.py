"""`lamofcbench scenarios`: lists what can be measured."""

from __future__ import annotations

import argparse
import json

from harness.commands import _common

HELP = "list the scenarios"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--edition", choices=("mini", "small", "full", "user"), help="only this edition")
    parser.add_argument("--json", action="store_true", help="whole declarations, as JSON")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from lamofcbench.scenarios.base import SCENARIOS

    chosen = [scenario for scenario in SCENARIOS if args.edition in (None, scenario.edition)]
    if args.json:
        print(json.dumps([scenario.model_dump(mode="json") for scenario in chosen], indent=2))
        return
    head = ("scenario", "edition", "category", "samples", "metric", "better", "title")
    better = {"up": "higher", "down": "lower"}
    rows = [(s.ref, s.edition, s.category, s.test_samples, s.metric, better[s.direction], s.title) for s in chosen]
    _common.print_table([head, *rows])
