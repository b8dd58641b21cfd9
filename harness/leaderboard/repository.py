"""A results repository of the Hub, fetched at one commit."""

from __future__ import annotations

import contextlib
import glob
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.submission import intake
from harness.submission.manifest import DATASET, SUBMISSIONS, VERDICTS
from harness.submission.pull_requests import listing
from lamofcbench.errors import LaMoFCBenchError, shown
from lamofcbench.hub import hub_errors

MAX_FILES = 1_000_000
MAX_TOTAL_BYTES = 200 * 2**30


@contextlib.contextmanager
def fetched(repo: str, revision: str | None = None) -> Iterator[tuple[Path, str]]:
    """A folder with a repository's submissions and verdicts, and the commit that they are of; removed at the end.

    Everything of a submission is fetched, because a verdict goes by a digest over all of its files. Of one that is
    larger than a submission can be there is an empty folder, which is refused and keeps no other from being fetched.

    Args:
        repo: ``org/name``.
        revision: branch, tag or commit; None for the newest.

    Raises:
        HubError: if the Hub refuses, or the connection breaks.
        LaMoFCBenchError: if the repository holds no submissions, or more than anybody should fetch.
    """
    from huggingface_hub import HfApi, snapshot_download

    api = HfApi()
    patterns = [f"{SUBMISSIONS}/*", f"{VERDICTS}/*.json"]
    with hub_errors(f"cannot fetch the results repository {shown(repo)}"):
        commit = api.repo_info(repo, repo_type=DATASET, revision=revision).sha or ""
        sizes = listing(api, repo, commit)
    if not any(path.startswith(f"{SUBMISSIONS}/") for path in sizes):
        raise LaMoFCBenchError(f"the dataset repository {shown(repo)} holds no submissions at {commit[:8]}")
    excessive = _excessive(sizes)
    sizes = {path: size for path, size in sizes.items() if _submission(path) not in excessive}
    if len(sizes) > MAX_FILES or sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise LaMoFCBenchError(
            f"{shown(repo)} has {len(sizes)} files of {sum(sizes.values())} bytes; too much to fetch"
        )
    with tempfile.TemporaryDirectory(prefix="lamofcbench-") as temporary:
        with hub_errors(f"cannot fetch the results repository {shown(repo)}"):
            snapshot_download(
                repo,
                repo_type=DATASET,
                revision=commit,
                allow_patterns=patterns,
                ignore_patterns=[f"{SUBMISSIONS}/{glob.escape(name)}/*" for name in excessive],
                local_dir=temporary,
            )
        for name in excessive:
            (Path(temporary) / SUBMISSIONS / name).mkdir(parents=True, exist_ok=True)
        yield Path(temporary), commit


def _submission(path: str) -> str | None:
    """Whose file it is; None for one of no submission."""
    top, _, rest = path.partition("/")
    name, _, inside = rest.partition("/")
    return name if top == SUBMISSIONS and inside else None


def _excessive(sizes: Mapping[str, int]) -> list[str]:
    """The submissions of more files or bytes than one may have."""
    held: dict[str, list[int]] = defaultdict(list)
    for path, size in sizes.items():
        name = _submission(path)
        if name is not None:
            held[name].append(size)
    return [n for n, own in held.items() if len(own) > intake.MAX_FILES or sum(own) > intake.MAX_TOTAL_BYTES]
