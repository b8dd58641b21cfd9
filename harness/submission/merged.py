"""Verdicts on what was merged: ``verdicts/<name>.json`` for the submissions on a results repository's main branch.

A verdict says by its digest which content it is about. One on a pull request is never written here: it may be about
another content of the same name than what was merged. One on the very content that looked more closely is kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.submission.findings import Findings
from harness.submission.intake import MAX_FILES, MAX_TOTAL_BYTES
from harness.submission.manifest import (
    DATASET,
    MANIFEST_FILE,
    NAME,
    SUBMISSIONS,
    VERDICTS,
    SubmissionError,
    submission_digest,
)
from harness.submission.pull_requests import fetch, is_unchanged, listing, unread
from harness.submission.standing import LACKS_TRUST, Standing
from harness.submission.validate import Scrutiny, validate, verdict_of
from harness.submission.verdict import MAX_VERDICT_BYTES, NOTHING_READ, Verdict, read_verdict
from lamofcbench.atomic import json_text
from lamofcbench.errors import first_line, one_line, shown
from lamofcbench.hub import hub_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def update_verdicts(
    api: HfApi,
    repo: str,
    scrutiny: Scrutiny,
    *,
    only: str | None = None,
    read: str | None = None,
    again: bool = False,
    tell: Callable[[str], object] = lambda what: None,
    warn: Callable[[str], object] = lambda what: None,
) -> Iterator[Verdict]:
    """Validates merged submissions without a verdict on their very content, or with one of a less close look.

    Each verdict is committed once it is made.

    Somebody else may commit meanwhile: a verdict names its content by a digest, so it never is about another one.

    Args:
        api: the client, signed in.
        repo: the results repository.
        scrutiny: how closely to look.
        only: the name of the one submission that is looked at; None for all.
        read: the commit at which somebody read it, without which a codec's own source is not run.
        again: also those that have one.
        tell: called with what is looked at next.
        warn: called with why a verdict is kept, where a closer look was asked for or it looked more closely, and
            with what cannot have one.

    Yields:
        What was committed; nothing where every submission had its verdict.

    Raises:
        HubError: if the Hub does not say what the repository holds.
        SubmissionError: if there is none of the name, or it is not what was read; after all others, if some could not
            be fetched or validated, or their verdicts not committed.
    """
    with hub_errors(f"cannot read the results repository {repo}"):
        commit = api.repo_info(repo, repo_type=DATASET).sha or ""
        files = listing(api, repo, commit)
    names = _merged(files)
    if only is not None:
        if only not in names or not NAME.fullmatch(only):
            raise SubmissionError(f"{one_line(repo)} holds no merged submission {shown(only)}")
        _require_as_read(api, repo, only, commit, read, needed=scrutiny.trust_code)
    failed = []
    for name in names if only is None else [only]:
        if not NAME.fullmatch(name):
            warn(f"{SUBMISSIONS}/{shown(name)} is no name of a submission; it gets no verdict")
            continue
        try:
            verdict = _verdict(repo, commit, files, name, scrutiny, again, tell, warn)
            if verdict is not None:
                _commit(api, repo, verdict)
        except Exception as error:  # neither a Hub that refuses nor what nobody has thought of is to stop the others
            failed.append(f"{name} ({type(error).__name__}: {first_line(error)})")
            continue
        if verdict is not None:
            yield verdict
    if failed:
        raise SubmissionError(f"{len(failed)} submissions could not be validated: {'; '.join(failed)}")


def _merged(files: Iterable[str]) -> list[str]:
    """What stands below ``submissions/``, names or none."""
    return sorted({path.split("/")[1] for path in files if path.startswith(f"{SUBMISSIONS}/") and path.count("/") > 1})


def _require_as_read(api: HfApi, repo: str, name: str, commit: str, read: str | None, *, needed: bool) -> None:
    """Refuses a submission that is not what somebody read, or that nobody has read where somebody needs to have."""
    place = f"{SUBMISSIONS}/{name} of {one_line(repo)}"
    if read is None and needed:
        raise unread(place, commit)
    if read is not None and not is_unchanged(api, repo, name, read, commit):
        raise SubmissionError(f"{place} has changed since {read}; read it again")


def _verdict(
    repo: str,
    commit: str,
    files: dict[str, int],
    name: str,
    scrutiny: Scrutiny,
    again: bool,
    tell: Callable[[str], object],
    warn: Callable[[str], object],
) -> Verdict | None:
    """What a submission comes to; None where the verdict on its very content stands."""
    held = {path: size for path, size in files.items() if path.startswith(f"{SUBMISSIONS}/{name}/")}
    place = f"{VERDICTS}/{name}.json"
    kept = _kept(repo, commit, place) if 0 < files.get(place, 0) <= MAX_VERDICT_BYTES else None
    with tempfile.TemporaryDirectory(prefix="lamofcbench-") as temporary:
        if len(held) > MAX_FILES or sum(held.values()) > MAX_TOTAL_BYTES:
            if kept is not None and kept.digest == NOTHING_READ and not again:
                return None
            findings = Findings(Path(temporary))
            findings.fault(MANIFEST_FILE, f"at most {MAX_FILES} files and {MAX_TOTAL_BYTES} bytes are fetched")
            return verdict_of(name, NOTHING_READ, findings)
        folder = fetch(repo, commit, name, Path(temporary))
        standing = None
        if kept is not None and kept.digest == submission_digest(folder):
            standing = Standing(kept.level, kept.looked)
            reason = None if again else standing.why_kept(scrutiny.looked)
            if reason is not None:
                if reason:
                    warn(f"{name} unchanged: {reason}")
                return None
            scrutiny = standing.scrutiny(scrutiny)
        tell(f"{name} at {commit[:8]}")
        verdict = validate(folder, scrutiny, tell=tell)
        if standing is not None and standing.outlasts(verdict.level, scrutiny.looked):
            warn(f"{name} unchanged: {LACKS_TRUST}")
            return None
        return verdict


def _kept(repo: str, commit: str, place: str) -> Verdict | None:
    """The verdict that a file holds; None for what is none."""
    from huggingface_hub import hf_hub_download

    with hub_errors(f"cannot get {place} of {repo}"):
        path = Path(hf_hub_download(repo, place, repo_type=DATASET, revision=commit))
    return read_verdict(path)


def _commit(api: HfApi, repo: str, verdict: Verdict) -> None:
    from huggingface_hub import CommitOperationAdd

    content = json_text(verdict.model_dump(mode="json")).encode()
    place = f"{VERDICTS}/{verdict.submission}.json"
    with hub_errors(f"cannot write {place} into {repo}; the same command tries again"):
        message = f"Verdict: {verdict.submission}"
        api.create_commit(repo, [CommitOperationAdd(place, content)], commit_message=message, repo_type=DATASET)
