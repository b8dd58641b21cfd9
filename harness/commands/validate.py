"""`lamofcbench validate`: what a submission comes to for somebody who believes nothing of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness import console
from harness.commands import _common, _scrutiny

if TYPE_CHECKING:
    from harness.submission.verdict import Verdict

HELP = "check a submission: count, decode, predict and score it anew, and say what it comes to"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "submission", metavar="PATH|PR",
        help="a submission's folder, or its pull request: an address, or ORG/RESULTS#N, with @COMMIT for what you read",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE",
        help="the verdict as JSON (default: verdicts/NAME.json beside submissions/, else NAME.verdict.json here)",
    )  # fmt: skip
    _scrutiny.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints the verdict and, on stderr, where it is as JSON. Status 1 says that it is refused."""
    from harness.submission.verdict import write_verdict

    verdict, default = _verdict(args)
    path = args.output or default
    write_verdict(path, verdict)
    _scrutiny.show(verdict)
    print(f"written to {path}", file=sys.stderr)
    return 1 if verdict.level == "refused" else 0


def _verdict(args: argparse.Namespace) -> tuple[Verdict, Path]:
    """The verdict, and where it belongs."""
    from harness.submission.manifest import SUBMISSIONS, VERDICTS, SubmissionError
    from harness.submission.pull_requests import changes_of, parse_pull_request
    from harness.submission.review import validate_pull_request
    from harness.submission.review_comment import REPLACES
    from harness.submission.validate import require_submission, validate
    from lamofcbench.errors import shown

    look, tell = _scrutiny.scrutiny(args), _common.teller(args)
    request = parse_pull_request(args.submission)
    if request is not None and not Path(args.submission).exists():
        from huggingface_hub import HfApi

        changes = changes_of(HfApi(), request)
        verdict = validate_pull_request(request, changes, look, tell=tell)
        if changes.replaces:
            console.tell(f"{request}: {REPLACES}")
        return verdict, Path(f"{verdict.submission}.verdict.json")
    is_meant = "://" in args.submission or ("#" in args.submission and not Path(args.submission).exists())
    if request is None and is_meant:
        raise SubmissionError(
            f"{shown(args.submission, 200)} is the address of no pull request, which ends in /discussions/N or is "
            "ORG/RESULTS#N, alone or with @ and a commit of 40 hex digits behind"
        )
    folder = Path(args.submission).absolute()
    require_submission(folder)
    verdict = validate(folder, look, tell=tell)
    if folder.parent.name == SUBMISSIONS:
        return verdict, folder.parent.with_name(VERDICTS) / f"{verdict.submission}.json"
    return verdict, Path(f"{verdict.submission}.verdict.json")
