"""What can be attacked, by name: each codec's bitstreams, and the files of saved codecs and datasets."""

from __future__ import annotations

from typing import Any

from benchmarks.hostile.honest import COSTLY
from lamofcbench.codecs.base import CODECS

FILES = ("codec-folder", "manifest", "index", "shard")
"""Targets whose cases are files."""
SLOWER = ("avif", "channel", "hevc", "jpeg-xl", "jpeg2000", "uniform")
"""Codecs that decode some hundreds of cases a second; those that are neither these nor `COSTLY` do a thousand."""


def codec_names() -> list[str]:
    """Codecs that this machine can run."""
    return [codec_class.name for codec_class in CODECS if not codec_class.unavailable()]


def cases_of(target: str, seed: int) -> Any:
    """The cases of a target: of `FILES`, a registered codec or ``file.py:Class``.

    Raises:
        UnknownNameError: if there is no such target.
    """
    if target in FILES:
        from benchmarks.hostile.files import cases_of_files

        return cases_of_files(target, seed)
    from benchmarks.hostile.streams import StreamCases

    return StreamCases(target, seed)


def allotted(targets: list[str], streams: int, files: int) -> dict[str, int]:
    """How many cases each target gets: files alike, codecs by their speed.

    Args:
        targets: names.
        streams: of all codecs together.
        files: of all files together.
    """
    codecs = [target for target in targets if target not in FILES]
    weights = {name: _weight(name) for name in codecs}
    shares = {name: round(streams * weight / sum(weights.values())) for name, weight in weights.items()}
    of_files = [target for target in targets if target in FILES]
    return {**shares, **{name: -(-files // len(of_files)) for name in of_files}}


def _weight(codec: str) -> int:
    """Of a million cases a unit is some two thousand."""
    return 2 if codec in COSTLY else 20 if codec in SLOWER else 40
