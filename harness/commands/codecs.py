"""`lamofcbench codecs`: lists what can be run."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from harness.commands import _common

HELP = "list the codecs and their parameters"
MARKS = ("lossless", "needs_calibration", "needs_sensitivity")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    from lamofcbench.codecs.registry import CODECS

    described = [_describe(codec) for codec in CODECS]
    if args.json:
        print(json.dumps(described, indent=2))
        return
    rows = [
        (
            entry["name"],
            ", ".join(f"{name}={default}" for name, default in entry["params"].items()),
            len(entry["rate_points"]),
            " ".join(word for word in MARKS if entry[word]).replace("_", " "),
            entry["summary"] if entry["unavailable"] is None else f"unavailable: {entry['unavailable']}",
        )
        for entry in described
    ]
    _common.print_table([("codec", "parameters", "rate points", "", ""), *rows])


def _describe(codec: Any) -> dict[str, Any]:
    from lamofcbench.codecs.params import plain_defaults, to_plain

    defaults = plain_defaults(codec.Params)
    return {
        "name": codec.name,
        "summary": (codec.__doc__ or "").strip().splitlines()[0] if codec.__doc__ else "",
        "params": {f.name: defaults.get(f.name, "required") for f in dataclasses.fields(codec.Params) if f.init},
        "rate_points": [
            {name: to_plain(codec.make_params(point))[name] for name in point} for point in codec.rate_points
        ],
        "lossless": codec.lossless,
        "needs_calibration": codec.needs_calibration,
        "needs_sensitivity": codec.needs_sensitivity,
        "paper": codec.paper,
        "unavailable": codec.unavailable(),
    }
