"""`lamofcbench review`: validates the open pull requests of a results repository; merges none."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands import _common, _scrutiny
from harness.console import MAX_LINE, tell
from lamofcbench.errors import one_line

HELP = "validate a results repository's open pull requests: a comment and a title prefix each; merges none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--repo", required=True, metavar="ORG/RESULTS", help="the results repository")
    parser.add_argument(
        "--pull-request", type=_number_and_commit, nargs="+", metavar="N[@COMMIT]",
        help="these alone (default: all open ones); --trust-code runs the source of those that are as you read them",
    )  # fmt: skip
    parser.add_argument("--again", action="store_true", help="also those whose verdict looked as closely")
    parser.add_argument(
        "--merged", action="store_true",
        help="then write verdicts/NAME.json for merged submissions that have none on their content",
    )  # fmt: skip
    parser.add_argument(
        "--submission", type=_name_and_commit, metavar="NAME[@COMMIT]",
        help="with --merged: this one alone, and no pull requests; --trust-code runs its source as you read it",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="DIR", help="keep verdicts on pull requests as pr-N-NAME.json")
    _scrutiny.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints a line a pull request. Status 1: one could not be validated."""
    from harness.submission.merged import update_verdicts
    from harness.submission.review import review
    from harness.submission.verdict import write_verdict
    from lamofcbench.errors import LaMoFCBenchError
    from lamofcbench.hub import signed_in

    if args.submission is not None and (args.pull_request or not args.merged):
        raise LaMoFCBenchError("--submission names what was merged; it stands beside --merged, without --pull-request")
    if args.trust_code and args.submission is None and (args.merged or not args.pull_request):
        raise LaMoFCBenchError(
            "--trust-code runs what strangers wrote: read the source, then name its pull request with --pull-request "
            "N@COMMIT, without --merged, or what was merged with --merged --submission NAME@COMMIT"
        )
    api, look, say = signed_in(), _scrutiny.scrutiny(args), _common.teller(args)
    failed = False
    numbers = {} if args.submission is not None else args.pull_request and dict(args.pull_request)
    for one in review(api, args.repo, look, numbers=numbers, again=args.again, tell=say):
        print(one_line(f"{one.request} {one.outcome}", MAX_LINE), flush=True)
        if one.outcome == "failed":
            tell(f"{one.request} could not be validated: {one.reason}")
            failed = True
        elif one.reason:
            tell(f"{one.request} {one.outcome}: {one.reason}")
        if one.verdict is not None and args.output is not None:
            write_verdict(args.output / f"pr-{one.request.num}-{one.verdict.submission}.json", one.verdict)
    if args.merged:
        only, read = args.submission or (None, None)
        known = {"only": only, "read": read, "again": args.again}
        for verdict in update_verdicts(api, args.repo, look, **known, tell=say, warn=tell):
            print(f"{verdict.submission} {verdict.level}", flush=True)
    return 1 if failed else 0


def _number_and_commit(text: str) -> tuple[int, str | None]:
    from harness.submission.pull_requests import parse_pull_request

    request = parse_pull_request(f"any/results#{text}")
    if request is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number, alone or with @ and a commit of 40 hex digits")
    return request.num, request.commit


def _name_and_commit(text: str) -> tuple[str, str | None]:
    from lamofcbench.pins import COMMIT

    name, at, commit = text.partition("@")
    if not name or (at and not COMMIT.fullmatch(commit)):
        raise argparse.ArgumentTypeError(f"{text!r} is no name, alone or with @ and a commit of 40 hex digits")
    return name, commit or None
