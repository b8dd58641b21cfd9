"""`lamofcbench submit`: results as a pull request on a results repository."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from harness.commands import _common, _scrutiny

HELP = "pack results, check them as a maintainer will, and open a pull request on a results repository"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="a results folder with bitstreams")
    parser.add_argument("--repo", metavar="ORG/RESULTS", help="the results repository, a dataset on the Hub")
    parser.add_argument("--codec", metavar="ID", help="whose results (default: the one beside anchor and floor)")
    parser.add_argument("--name", default="", help="of the submission (default: the codec's)")
    parser.add_argument("--display-name", default="", metavar="TEXT", help="what the board shows (default: the codec)")
    parser.add_argument("--organisation", default="", metavar="TEXT", help="who submits")
    parser.add_argument("--link", metavar="URL", help="where the codec's code is, https://...")
    parser.add_argument("--commit", metavar="SHA", help="of that code, 40 hex digits")
    parser.add_argument("--licence", default="Apache-2.0", metavar="ID", help="of the codec (default: Apache-2.0)")
    parser.add_argument(
        "--sample-bitstreams", action="store_true",
        help="send the hashes of all bitstreams and a tenth of the bytes; the verdict is then consistent at most",
    )  # fmt: skip
    parser.add_argument("--pull-request", type=int, metavar="N", help="bring this one up to date; open no new one")
    parser.add_argument("--dry-run", action="store_true", help="write the folder, check it and send nothing")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="with --dry-run: where to (default: the folder named submission)"
    )
    _scrutiny.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; prints the folder, or the pull request's address. Status 1: it would be refused."""
    from harness.submission.manifest import DATASET, SubmissionError
    from lamofcbench.hub import check_repository, hub_errors, signed_in

    if args.dry_run:
        folder = _packed(args, args.output or Path("submission"))
        if _is_refused(args, folder):
            return 1
        print(folder)
        return 0
    if args.repo is None:
        raise SubmissionError("name the results repository with --repo ORG/RESULTS, or try it with --dry-run")
    check_repository(args.repo)
    if args.output is not None:
        raise SubmissionError("--output says where --dry-run writes to; without it nothing is kept")
    from harness.submission.pull_requests import open_pull_request, require_first

    api = signed_in()  # before minutes of checking
    with hub_errors(f"cannot see the results repository {args.repo}"):
        api.repo_info(args.repo, repo_type=DATASET)
    with tempfile.TemporaryDirectory(prefix="lamofcbench-") as temporary:
        folder = _packed(args, Path(temporary))
        if args.pull_request is None:
            require_first(api, args.repo, folder.name)
        if _is_refused(args, folder):
            return 1
        print(open_pull_request(api, args.repo, folder, args.pull_request))
    return 0


def _packed(args: argparse.Namespace, output: Path) -> Path:
    from harness.submission.manifest import LINK, MAX_LINK, SubmissionError
    from harness.submission.pack import Author, pack
    from lamofcbench.errors import shown
    from lamofcbench.pins import COMMIT

    if args.link is not None and (len(args.link) > MAX_LINK or not LINK.fullmatch(args.link)):
        raise SubmissionError(
            f"--link is {shown(args.link)}; give an address that begins with https:// and has no spaces, of at most "
            f"{MAX_LINK} characters"
        )
    if args.commit is not None and not COMMIT.fullmatch(args.commit):
        raise SubmissionError(f"--commit is {shown(args.commit)}; give all of its 40 hex digits, lower case")
    author = Author(args.name, args.display_name, args.organisation, args.link, args.commit, args.licence)
    return pack(args.results, output, author, args.codec, sampled=args.sample_bitstreams, tell=_common.teller(args))


def _is_refused(args: argparse.Namespace, folder: Path) -> bool:
    """Validates the folder here first, and shows why where a maintainer would refuse it."""
    from harness.submission.validate import validate

    tell = _common.teller(args)
    verdict = validate(folder, _scrutiny.scrutiny(args), tell=tell)
    if verdict.level == "refused":
        _scrutiny.show(verdict)
        return True
    for check in verdict.checked:
        tell(f"checked: {check}")
    tell(f"{verdict.submission}: {verdict.level}")
    return False
