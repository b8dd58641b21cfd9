"""`lamofcbench decode`: a coded file back to features, from the bytes and the saved codec alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands import _common

HELP = "decode a file to features (safetensors; side information as metadata)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the coded bytes")
    parser.add_argument(
        "--codec", type=Path, metavar="DIR", help="the saved codec (default: FILE with .codec appended)"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="a .safetensors file")
    _common.add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Runs the command; prints the path of the features."""
    from safetensors.torch import save

    from lamofcbench.atomic import write_bytes
    from lamofcbench.codecs.registry import load_saved

    codec = load_saved(args.codec or args.file.with_name(args.file.name + ".codec"), trust_code=args.trust_code)
    features = codec.decode(args.file.read_bytes())
    side = {name: str(value) for name, value in features.side.items()}
    write_bytes(args.output, save(dict(features.tensors), metadata=side))
    print(args.output)
