"""`lamofcbench encode`: one sample to a file, with the codec that decodes it."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands import _common

HELP = "encode one sample's features to a file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("scenario", metavar="SCENARIO", help="id or path/to/file.py:NAME")
    parser.add_argument("--codec", required=True, metavar="SPEC", help="one codec at one rate point")
    parser.add_argument("--index", type=int, default=0, metavar="N", help="position in the split (default: 0)")
    parser.add_argument("--split", choices=("test", "calibration"), default="test", help="default: test")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="for the coded bytes")
    parser.add_argument(
        "--save-codec", type=Path, metavar="DIR", help="for what decodes them (default: FILE with .codec appended)"
    )
    _common.add_data_argument(parser)
    _common.add_trust_argument(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="for fitting (default: 0)")


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints the paths of the bytes and of the codec."""
    from harness.running import fitting
    from harness.running.selection import select_codecs
    from lamofcbench.atomic import write_bytes
    from lamofcbench.codecs.registry import parse_codec_spec, spec_of
    from lamofcbench.errors import CodecError, DataError
    from lamofcbench.scenarios.base import SCENARIOS
    from lamofcbench.storage import open_split
    from lamofcbench.storage.calibration import Calibration

    directory = args.save_codec or args.output.with_name(args.output.name + ".codec")
    if directory.exists() and not fitting.is_replaceable(directory):
        raise CodecError(f"{directory} is there and holds no saved codec; name another folder with --save-codec")
    scenario = SCENARIOS.get(args.scenario)
    codecs = select_codecs([args.codec], scenario, trust_code=args.trust_code)
    if len(codecs) > 1:
        raise CodecError(
            f"{args.codec} stands for {len(codecs)} rate points; name one of them: "
            f"{', '.join(spec_of(codec, parse_codec_spec(args.codec).id) for codec in codecs)}"
        )
    split = open_split(scenario, args.split, args.data)
    if not 0 <= args.index < len(split):
        raise DataError(f"no sample {args.index}: the {args.split} split holds 0 to {len(split) - 1}")
    tail = _tail_of(codecs[0], scenario, args)
    codec = fitting.fit(codecs[0], Calibration(scenario, args.data), args.seed, tail)
    data = codec.encode(split.features(args.index))
    fitting.save(codec, directory, fitting.fit_record(codecs[0], [scenario], split, args.seed, tail))
    write_bytes(args.output, data)
    print(args.output, directory, sep="\n")


def _tail_of(codec, scenario, args):
    """What tells a codec of the tail's sensitivity, kept in the cache folder; None where it does not ask."""
    if not codec.needs_sensitivity or codec.state:
        return None
    from harness.running.sensitivity import TailSensitivity
    from lamofcbench.models.loading import load_model
    from lamofcbench.storage.cache import cache_folder

    folder = cache_folder() / "sensitivity"
    return TailSensitivity(scenario, args.data, lambda: load_model(scenario, device="cpu"), folder, args.seed)
