"""The command line: finds the commands, turns the user's mistakes into one clear line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from harness import commands, console
from harness.running import launch
from lamofcbench.errors import LaMoFCBenchError, UnknownNameError, shown
from lamofcbench.version import __version__

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def find_commands() -> dict[str, ModuleType]:
    """The commands by name; see `harness.commands` for what a command module holds."""
    names = sorted(info.name for info in pkgutil.iter_modules(commands.__path__) if not info.name.startswith("_"))
    modules = {name: importlib.import_module(f"{commands.__name__}.{name}") for name in names}
    return {name.rstrip("_").replace("_", "-"): module for name, module in modules.items()}


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="lamofcbench",
        description="The benchmark for coding the intermediate features of large models in split execution.",
    )
    parser.add_argument("--version", action="version", version=f"lamofcbench {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in find_commands().items():
        subparser = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(subparser)
        subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        subparser.set_defaults(run_command=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    with console.standard_streams():
        return _main(list(sys.argv[1:] if argv is None else argv))


def _main(argv: list[str]) -> int:
    if argv and not argv[0].startswith("-") and argv[0] not in find_commands():
        return _fail(str(UnknownNameError("command", argv[0], find_commands())), EXIT_USAGE)
    for argument in argv:
        if not _is_utf8(argument):
            advice = "Parquet and safetensors read and write files under names in UTF-8 alone"
            return _fail(f"argument {shown(argument)} is not UTF-8 in this locale; {advice}", EXIT_USAGE)
    args = make_parser().parse_args(argv)
    args.argv = argv
    try:
        status: int = args.run_command(args) or 0
        sys.stdout.flush()  # a full disk behind it is an error like any other
        return status
    except KeyboardInterrupt:
        if args.debug:
            raise
        resumes = "; rerun the same command to resume" if args.command in ("run", "train") else ""
        return _fail(f"interrupted{resumes}" if launch.speaks() else "", EXIT_INTERRUPTED)
    except LaMoFCBenchError as error:
        if args.debug:
            raise
        return _fail(_in_flags(str(error), args), EXIT_ERROR)
    except OSError as error:
        if args.debug:
            raise
        return _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", EXIT_ERROR)
    except Exception as error:
        if args.debug:
            raise
        return _fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", EXIT_ERROR)


def _in_flags(message: str, args: argparse.Namespace) -> str:
    """A message about an argument by the argument's flag: the library calls it by the name that Python callers use.

    Example:
        >>> _in_flags("verify_samples is -1; it may be 0 or more", argparse.Namespace(verify_samples=-1))
        '--verify-samples is -1; it may be 0 or more'
    """
    name, space, rest = message.partition(" ")
    given = {str(value) for value in vars(args).values()}  # a folder, say, may have the name of an argument
    is_argument = space and rest.startswith("is ") and name in vars(args) and name not in given
    return f"--{name.replace('_', '-')} {rest}" if is_argument else message


def _is_utf8(argument: str) -> bool:
    """True where the libraries that take paths as UTF-8 and Python mean the same file by it."""
    try:
        return os.fsencode(argument) == argument.encode()
    except UnicodeEncodeError:
        return False


def _fail(message: str, status: int) -> int:
    if message:
        console.tell(message)
    return status


if __name__ == "__main__":
    sys.exit(main())
