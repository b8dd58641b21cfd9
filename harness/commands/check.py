"""`lamofcbench check`: the conformance suite, a line a case."""

from __future__ import annotations

import argparse
import time
import traceback
from pathlib import Path

HELP = "hold codecs to the contract that every shipped one is held to"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "codecs", nargs="+", metavar="CODEC",
        help="ID[:key=value,...]; ID is a name or path/to/file.py:Class; without parameters the first, the middle and "
        "the last rate point of its ladder",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; exit status 1 where a case does not hold."""
    points = [point for spec in args.codecs for point in _points(spec)]
    shown: set[str] = set()
    broken = [label for label, codec_class, params in points if not _holds(label, codec_class, params, shown)]
    print(f"{', '.join(broken)}: does not hold" if broken else "holds", flush=True)
    return 1 if broken else 0


def _points(spec: str):  # type: ignore[no-untyped-def]  # imported late
    """The points to check: (what to call it, class, parameters)."""
    from lamofcbench.codecs.registry import CODECS, parse_codec_spec

    parsed = parse_codec_spec(spec)
    codec_class = CODECS.get(parsed.id)
    codec_class.require_available()
    if parsed.params is not None:
        codec_class.make_params(parsed.params)  # a wrong one is the user's, not the codec's
        return [(spec, codec_class, parsed.params)]
    ladder = list(codec_class.rate_points)
    chosen = sorted({0, len(ladder) // 2, len(ladder) - 1})
    return [(_label(spec, ladder[index]), codec_class, ladder[index]) for index in chosen]


def _label(spec: str, params) -> str:  # type: ignore[no-untyped-def]
    from lamofcbench.codecs.params import as_text

    return ":".join(filter(None, (spec, ",".join(f"{key}={as_text(value)}" for key, value in params.items()))))


def _holds(label: str, codec_class, params, shown: set[str]) -> bool:  # type: ignore[no-untyped-def]
    """Runs all cases of a point, each on a line of its own; those behind one that fails are run too.

    One mistake fails many cases, so a traceback that was `shown` is not shown again.
    """
    from lamofcbench.codecs.conformance import cases

    print(label, flush=True)
    holds = True
    for case in cases(codec_class, params):
        start = time.perf_counter()
        try:
            case.run()
        except Exception as error:  # whatever an author's code raises
            holds = False
            print(f"  FAILS  {case.title}\n         {error}", flush=True)
            lines = _author_traceback(error)
            place = "\n".join(lines[:-1])  # the last line says what was raised, as the error's own does
            if place and place in shown:
                lines = ["(the same lines of the codec as above)"]
            shown.add(place)
            for line in lines:
                print(f"         {line}", flush=True)
        else:
            print(f"  holds  {case.title} ({time.perf_counter() - start:.1f} s)", flush=True)
    return holds


def _author_traceback(error: BaseException) -> list[str]:
    """Where the codec's own code raised, as Python shows it, from there on; empty where it raised nothing."""
    import lamofcbench
    from lamofcbench.errors import LaMoFCBenchError

    ours = str(Path(lamofcbench.__file__).parent)

    cause: BaseException | None = error
    while cause is not None and isinstance(cause, LaMoFCBenchError):
        cause = cause.__cause__
    if cause is None:
        return []
    place = cause.__traceback__
    while place is not None and place.tb_next is not None and place.tb_frame.f_code.co_filename.startswith(ours):
        place = place.tb_next
    return "".join(traceback.format_exception(type(cause), cause, place, chain=False)).rstrip().splitlines()
