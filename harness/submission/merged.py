"""Verdicts on what was merged: ``verdicts/<name>.json`` for the submissions on a results repository's main branch.

A verdict says by its digest which content it is about. One on a pull request is never written here: it may be about
another content of the same name than what was merged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.running.decoding_process import DecodingProcess
from harness.submission.findings import Findings
from harness.submission.intake import MAX_FILES, MAX_TOTAL_BYTES
from harness.submission.manifest import MANIFEST_FILE, NAME, SUBMISSIONS, VERDICTS, submission_digest
from harness.submission.pull_requests import DATASET, fetch, listing
from harness.submission.validate import NOTHING_READ, Scrutiny, validate, verdict_of
from harness.submission.verdict import Verdict
from lamofcbench.atomic import json_text
from lamofcbench.hub import HubError, hub_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAX_VERDICT_BYTES = 2**22


def update_verdicts(
    api: HfApi,
    repo: str,
    scrutiny: Scrutiny,
    *,
    again: bool = False,
    decoder: DecodingProcess | None = None,
    tell: Callable[[str], object] = lambda what: None,
) -> list[Verdict]:
    """Validates merged submissions without a verdict on their very content, and commits those verdicts.

    Args:
        api: the client, signed in.
        repo: the results repository.
        scrutiny: how closely to look.
        again: also those that have one.
        decoder: see `validate`.
        tell: called with what is looked at next.

    Returns:
        What was committed; empty where every submission had its verdict.

    Raises:
        HubError: if the Hub refuses, or the connection breaks.
        MovedError: if somebody else has committed meanwhile.
    """
    with hub_errors(f"cannot read the results repository {repo}"):
        commit = api.repo_info(repo, repo_type=DATASET).sha or ""
        files = listing(api, repo, commit)
    found = list(_outdated(repo, commit, files, scrutiny, again, decoder, tell))
    if found:
        _commit(api, repo, commit, found)
    return found


def _outdated(
    repo: str,
    commit: str,
    files: dict[str, int],
    scrutiny: Scrutiny,
    again: bool,
    decoder: DecodingProcess | None,
    tell: Callable[[str], object],
) -> Iterator[Verdict]:
    names = sorted({path.split("/")[1] for path in files if path.startswith(f"{SUBMISSIONS}/") and path.count("/") > 1})
    for name in filter(NAME.fullmatch, names):
        held = {path: size for path, size in files.items() if path.startswith(f"{SUBMISSIONS}/{name}/")}
        place = f"{VERDICTS}/{name}.json"
        known = _known_digest(repo, commit, place) if 0 < files.get(place, 0) <= MAX_VERDICT_BYTES else None
        with tempfile.TemporaryDirectory(prefix="lamofcbench-") as temporary:
            findings = Findings(Path(temporary))
            if len(held) > MAX_FILES or sum(held.values()) > MAX_TOTAL_BYTES:
                if known != NOTHING_READ or again:
                    findings.fault(MANIFEST_FILE, f"at most {MAX_FILES} files and {MAX_TOTAL_BYTES} bytes are fetched")
                    yield verdict_of(name, NOTHING_READ, findings)
                continue
            folder = fetch(repo, commit, name, Path(temporary))
            if known != submission_digest(folder) or again:
                tell(name)
                yield validate(folder, scrutiny, decoder, tell)


def _known_digest(repo: str, commit: str, place: str) -> str | None:
    """The digest that a verdict is about; None for what is no verdict."""
    from huggingface_hub import hf_hub_download

    with hub_errors(f"cannot get {place} of {repo}"):
        path = Path(hf_hub_download(repo, place, repo_type=DATASET, revision=commit))
    try:
        return Verdict.model_validate_json(path.read_bytes()).digest
    except (ValidationError, OSError):
        return None


def _commit(api: HfApi, repo: str, parent: str, verdicts: list[Verdict]) -> None:
    from huggingface_hub import CommitOperationAdd

    operations = [
        CommitOperationAdd(f"{VERDICTS}/{verdict.submission}.json", json_text(verdict.model_dump(mode="json")).encode())
        for verdict in verdicts
    ]
    message = f"Verdicts on {len(verdicts)} submissions" if len(verdicts) > 1 else f"Verdict: {verdicts[0].submission}"
    try:
        with hub_errors(f"cannot write verdicts into {repo}"):
            api.create_commit(repo, operations, commit_message=message, repo_type=DATASET, parent_commit=parent)
    except HubError as error:
        raise type(error)(f"{error}; the same command tries again") from error
