"""Submissions as pull requests on a results repository of the Hub: opened, looked at, fetched. None is merged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report import text
from harness.submission.findings import Findings
from harness.submission.intake import MAX_FILES, MAX_TOTAL_BYTES, objection
from harness.submission.manifest import (
    DATASET,
    MANIFEST_FILE,
    NAME,
    SUBMISSIONS,
    VERDICTS,
    SubmissionError,
    read_manifest,
)
from lamofcbench.errors import one_line, shown
from lamofcbench.hub import REPOSITORY, HubError, hub_errors
from lamofcbench.pins import COMMIT

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

_REPO = REPOSITORY.pattern
_NUMBER = r"\d{1,9}"
_ADDRESS = re.compile(
    rf"(?:https?://[^/\s]+/datasets/({_REPO})/discussions/({_NUMBER})(?:/|/files/?)?|({_REPO})#({_NUMBER}))"
    rf"(?:@({COMMIT.pattern}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class PullRequest:
    """A pull request on a results repository.

    Attributes:
        repo: ``org/name``.
        num: its number.
        commit: the newest one when somebody read it, 40 hex digits; None where nobody says so.
    """

    repo: str
    num: int
    commit: str | None = None

    @property
    def revision(self) -> str:
        """The ref of its newest commit."""
        return f"refs/pr/{self.num}"

    def __str__(self) -> str:
        return f"{self.repo}#{self.num}"


def parse_pull_request(text: str) -> PullRequest | None:
    """The pull request of an address or ``org/name#number``, with ``@commit`` or without; None for a path, say.

    Example:
        >>> parse_pull_request("org/results#3")
        PullRequest(repo='org/results', num=3, commit=None)
        >>> parse_pull_request("https://huggingface.co/datasets/org/results/discussions/3").num
        3
    """
    match = _ADDRESS.fullmatch(text)
    return None if match is None else PullRequest(match[1] or match[3], int(match[2] or match[4]), match[5])


# ------------------------------------------------------------------------------------------------------------- opening


def open_pull_request(api: HfApi, repo: str, folder: Path, into: int | None = None) -> str:
    """Sends a submission's folder as a pull request; returns its address.

    Args:
        api: the client.
        repo: the results repository.
        folder: of the submission.
        into: an open pull request that is brought up to date, in place of a new one.

    Raises:
        HubError: if the Hub refuses, or the connection breaks.
        SubmissionError: if the main branch holds this very content, so that a new one would change nothing.
    """
    manifest = read_manifest(folder)
    place = f"{SUBMISSIONS}/{folder.name}"
    revision = "main" if into is None else PullRequest(repo, into).revision
    with hub_errors(f"cannot read the results repository {repo}"):
        present = {path for path in _listing(api, repo, revision) if path.startswith(f"{place}/")}
    operations = list(_operations(folder, place, present))
    edition = ", ".join(manifest.editions) or text.count(len(manifest.ladders), "scenario")
    with hub_errors(f"cannot open a pull request on {repo}"):
        done = api.create_commit(
            repo,
            operations,
            commit_message=f"{manifest.display_name}: {edition}",
            commit_description=_description(folder.name, manifest.organisation, manifest.link),
            repo_type=DATASET,
            create_pr=into is None,
            revision=None if into is None else revision,
        )
    number = into if into is not None else done.pr_num
    if number is None:  # the client opens none where nothing would change
        raise SubmissionError(f"the repository holds this very content already: {place} of {repo}; nothing was sent")
    return f"{api.endpoint}/datasets/{repo}/discussions/{number}"


def require_first(api: HfApi, repo: str, name: str) -> None:
    """Refuses a second pull request for what the same account proposes in one that is open still.

    Args:
        api: the client, signed in.
        repo: the results repository.
        name: of the submission.

    Raises:
        HubError: if the Hub cannot tell.
        SubmissionError: if there is one; it says how that one is brought up to date.
    """
    with hub_errors(f"cannot read the pull requests of {repo}"):
        me = str(api.whoami()["name"])
        listed = api.get_repo_discussions(
            repo, author=me, repo_type=DATASET, discussion_type="pull_request", discussion_status="open"
        )
        numbers = [one.num for one in listed if one.author == me]
    for number in numbers:
        changes = changes_of(api, PullRequest(repo, number))
        if changes.submission == name and not changes.is_withdrawal:
            raise SubmissionError(
                f"{repo}#{number} proposes {name} already and is open; --pull-request {number} brings it up to date"
            )


def _operations(folder: Path, place: str, present: set[str]) -> Iterator[CommitOperationAdd | CommitOperationDelete]:
    """Every file of a submission, and away with those that an earlier one left in its place."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    files = {f"{place}/{path.relative_to(folder).as_posix()}": path for path in folder.rglob("*") if path.is_file()}
    for name, path in sorted(files.items()):
        yield CommitOperationAdd(name, str(path))
    for name in sorted(present - set(files)):
        yield CommitOperationDelete(name)


def _description(name: str, organisation: str, link: str | None) -> str:
    lines = [f"Submission `{name}`."]
    if organisation:
        lines.append(f"By {organisation}.")
    if link:
        lines.append(f"Code: {link}")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------- looking


@dataclass(frozen=True)
class Changes:
    """What a pull request changes.

    Attributes:
        commit: its newest one.
        sizes: of the files that it adds or changes, in bytes, by path.
        removed: files that it takes away.
        merged: the submissions that the main branch holds now.
        left: the submissions of which there is something at that commit.
    """

    commit: str
    sizes: dict[str, int]
    removed: tuple[str, ...]
    merged: frozenset[str]
    left: frozenset[str]

    @property
    def submission(self) -> str | None:
        """The one submission that it touches; None where it touches none, or several."""
        names = _submissions((*self.sizes, *self.removed))
        return next(iter(names)) if len(names) == 1 else None

    @property
    def is_withdrawal(self) -> bool:
        """Whether all that it does is to take one submission away."""
        name = self.submission
        taken = all(path.startswith(f"{SUBMISSIONS}/{name}/") for path in self.removed)
        return name is not None and not self.sizes and taken and name not in self.left

    @property
    def replaces(self) -> bool:
        """Whether another content of its submission was merged before."""
        return self.submission in self.merged

    @property
    def is_submission(self) -> bool:
        """Whether it touches any, or a verdict on one."""
        places = (f"{SUBMISSIONS}/", f"{VERDICTS}/")
        return any(path.startswith(places) for path in (*self.sizes, *self.removed))


def changes_of(api: HfApi, request: PullRequest) -> Changes:
    """What a pull request changes, against the commit that it was made upon.

    Raises:
        HubError: if the Hub cannot tell.
        SubmissionError: if it has another newest commit than the one that was read.
    """
    with hub_errors(f"cannot read pull request {request}"):
        ours = [commit.commit_id for commit in api.list_repo_commits(request.repo, repo_type=DATASET)]  # newest first
        theirs = api.list_repo_commits(request.repo, repo_type=DATASET, revision=request.revision)
    if not theirs:
        raise HubError(f"pull request {request} has no commits")
    newest = theirs[0].commit_id
    if request.commit not in (None, newest):
        raise SubmissionError(f"{request} is at {newest} today, no more at {request.commit}; read what has changed")
    shared = set(ours)
    base = next((commit.commit_id for commit in theirs if commit.commit_id in shared), None)
    with hub_errors(f"cannot read pull request {request}"):
        before = {} if base is None else _listing(api, request.repo, base)
        after = _listing(api, request.repo, newest)
        now = before if base == ours[0] else _listing(api, request.repo, ours[0])
    sizes = {path: file.size for path, file in after.items() if path not in before or _id(before[path]) != _id(file)}
    removed = tuple(sorted(before.keys() - after.keys()))
    return Changes(newest, sizes, removed, _submissions(now), _submissions(after))


def is_newest(api: HfApi, request: PullRequest, commit: str) -> bool:
    """Whether a commit is still the newest one of a pull request.

    Raises:
        HubError: if the Hub cannot tell.
    """
    with hub_errors(f"cannot read pull request {request}"):
        commits = api.list_repo_commits(request.repo, repo_type=DATASET, revision=request.revision)
    return bool(commits) and commits[0].commit_id == commit


def _submissions(paths: Iterable[str]) -> frozenset[str]:
    """The submissions that files belong to."""
    return frozenset(path.split("/")[1] for path in paths if path.startswith(f"{SUBMISSIONS}/"))


def listing(api: HfApi, repo: str, revision: str) -> dict[str, int]:
    """The sizes of the files of a revision, in bytes, by path."""
    return {path: file.size for path, file in _listing(api, repo, revision).items()}


def unread(place: str, commit: str) -> SubmissionError:
    """Says that a codec's own source does not run whose content may be another by the time that it does.

    Args:
        place: of the submission.
        commit: that is the newest one today.
    """
    return SubmissionError(
        f"--trust-code runs what a stranger wrote, at one commit only: read {one_line(place)} as it is today, then "
        f"name it with @{commit} behind"
    )


def is_unchanged(api: HfApi, repo: str, name: str, before: str, now: str) -> bool:
    """Whether a submission has the same files at both commits of a repository.

    Raises:
        HubError: if the Hub cannot tell.
    """
    place = f"{SUBMISSIONS}/{name}/"
    with hub_errors(f"cannot read {repo} at {before}"):
        listings = [_listing(api, repo, commit) for commit in (before, now)]
    first, second = ({path: _id(file) for path, file in each.items() if path.startswith(place)} for each in listings)
    return first == second


def _listing(api: HfApi, repo: str, revision: str) -> dict[str, RepoFile]:
    """The files of a revision by path."""
    from huggingface_hub.hf_api import RepoFile

    entries = api.list_repo_tree(repo, repo_type=DATASET, recursive=True, revision=revision)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _id(file: RepoFile) -> tuple[str, int]:
    return (file.lfs.sha256 if file.lfs is not None else file.blob_id, file.size)


def check_changes(changes: Changes, findings: Findings) -> bool:
    """Whether a pull request holds one submission and nothing else, all of whose files may be fetched.

    Args:
        changes: of the pull request.
        findings: takes what is wrong; its files are named relative to the submission.
    """
    name = changes.submission
    if name is None or not NAME.fullmatch(name):
        findings.fault(
            MANIFEST_FILE,
            "a pull request holds one submission, in submissions/<name>/, named by lower-case letters, digits and ._-",
        )
        return False
    place = f"{SUBMISSIONS}/{name}/"
    for path in (*changes.sizes, *changes.removed):
        if not path.startswith(place):
            findings.fault(path, "is no part of this submission, and changed by its pull request")
    for path, size in changes.sizes.items():
        if path.startswith(place) and (what := objection(path.removeprefix(place), size)):
            findings.fault(path.removeprefix(place), what)
    if len(changes.sizes) > MAX_FILES or sum(changes.sizes.values()) > MAX_TOTAL_BYTES:
        findings.fault(MANIFEST_FILE, f"at most {MAX_FILES} files and {MAX_TOTAL_BYTES} bytes are fetched")
    return not findings.faults


def fetch(repo: str, commit: str, name: str, target: Path) -> Path:
    """A submission's folder, downloaded at a commit.

    Args:
        repo: the results repository.
        commit: 40 hex digits.
        name: of the submission, checked.
        target: a folder that is there, for nothing else.

    Raises:
        HubError: if the connection breaks.
        SubmissionError: if there is no such submission.
    """
    from huggingface_hub import snapshot_download

    with hub_errors(f"cannot fetch submission {name} of {repo}"):
        snapshot_download(
            repo, repo_type=DATASET, revision=commit, allow_patterns=[f"{SUBMISSIONS}/{name}/*"], local_dir=target
        )
    folder = target / SUBMISSIONS / name
    if not folder.is_dir():
        raise SubmissionError(f"{one_line(repo)} holds no submission {shown(name)} at {commit[:8]}")
    return folder
