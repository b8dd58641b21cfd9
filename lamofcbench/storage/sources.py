"""Where a dataset's files come from: a folder, a Hub repository at one commit, or the cache of mini data.

A source is named by a URI, an absolute path or ``hf://datasets/org/name@commit``, so that a reference to a tensor is
one string that any process can follow.
"""

from __future__ import annotations

import functools
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lamofcbench.errors import DataError, first_line, one_line, shown
from lamofcbench.pins import COMMIT
from lamofcbench.scenarios.base import SCENARIOS, Scenario
from lamofcbench.storage.cache import built_in_cache
from lamofcbench.storage.layout import MANIFEST_FILE, Manifest, check_manifest, read_manifest

PUBLISHING_SECONDS = 0.1
"""A folder that is replaced is away for a moment; longer than this, there is none."""

_HUB_URI = re.compile(r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)@(?P<commit>[0-9a-f]{40})")
_HUB_DATASET = re.compile(r"hf://datasets/(?P<repo>[^/@\s]+/[^/@\s]+)(@(?P<revision>[^@\s]+))?")


@dataclass(frozen=True)
class Source:
    """A dataset folder or repository.

    Attributes:
        uri: absolute path, or ``hf://datasets/org/name@commit``.
    """

    uri: str

    @property
    def is_local(self) -> bool:
        """True for a folder on disk, False for a Hub repository."""
        return not self.uri.startswith("hf://")

    def uri_of(self, relative: str) -> str:
        """The URI of a file, given relative to the dataset folder."""
        return f"{self.uri}/{relative}"

    def path_of(self, relative: str) -> Path:
        """The local path of a file, downloaded where it comes from the Hub; a missing local file is not noticed.

        Raises:
            DataError: for a path that leads out of the dataset folder, or a failed download.
        """
        parts = PurePosixPath(relative).parts
        if relative.startswith("/") or "\\" in relative or ".." in parts:
            raise DataError(
                f"{self.uri} names the file {shown(relative)}, which lies outside the dataset; do not trust it"
            )
        if self.is_local:
            return Path(self.uri, *parts)
        match = _HUB_URI.fullmatch(self.uri)
        if match is None:
            raise DataError(
                f"{shown(self.uri)} is no dataset source: hf://datasets/org/name@commit with a 40-digit commit"
            )
        return download(match["repo"], relative, match["commit"])

    def manifest(self, scenario: Scenario) -> Manifest:
        """The manifest of a scenario's folder, checked to be of this scenario."""
        path = self.path_of(f"{scenario.id}/{MANIFEST_FILE}")
        try:
            if not path.is_file():
                time.sleep(PUBLISHING_SECONDS)
                if not path.is_file():
                    raise DataError(_nothing_there(scenario, Path(self.uri)))
        except OSError as error:  # no permission to look, or a name that is too long
            raise DataError(f"{one_line(str(path), 300)} cannot be read ({first_line(error, 80)})") from error
        manifest = read_manifest(path)
        check_manifest(manifest, scenario, str(path.parent))
        return manifest

    def manifest_sha256(self, scenario: Scenario) -> str:
        """Hex sha256 of the manifest that is there now; empty where there is none."""
        try:
            return read_manifest(self.path_of(f"{scenario.id}/{MANIFEST_FILE}")).sha256
        except DataError:
            return ""


def resolve_scenario(scenario: str | Scenario) -> Scenario:
    """A scenario by itself, by registered id or by ``file.py:NAME``."""
    return scenario if isinstance(scenario, Scenario) else SCENARIOS.get(scenario)


def find_source(
    scenario: Scenario,
    *,
    data_dir: str | Path | None = None,
    repo: str | None = None,
    revision: str | None = None,
) -> Source:
    """Where a scenario's data are; a scenario that brings its builder is built into the cache where neither is named.

    Args:
        scenario: whose data.
        data_dir: a dataset folder on disk, or ``hf://datasets/org/name``, at a revision ``@REVISION`` or the newest.
        repo: a dataset repository on the Hub, ``org/name``.
        revision: branch, tag or commit of the repository; resolved to a commit here, once.

    Raises:
        DataError: if there is nothing to read; the message says what to pass.
    """
    sys.audit("lamofcbench.data", scenario.id)  # a process that decodes apart refuses it
    if data_dir is not None and repo is not None:
        raise DataError("pass either data_dir (a folder) or repo (a Hub repository), not both")
    if revision is not None and repo is None:
        raise DataError("revision is a commit, tag or branch of a Hub repository; pass repo='org/name' with it")
    if data_dir is not None and str(data_dir).startswith("hf:"):
        repo, revision, data_dir = *_repository(str(data_dir)), None
    if repo is not None:
        return Source(f"hf://datasets/{repo}@{_commit(repo, scenario, revision)}")
    if data_dir is not None:
        try:
            return Source(Path(data_dir).expanduser().resolve().as_posix())
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"data_dir {shown(str(data_dir))} cannot be read ({first_line(error, 80)})") from error
    if scenario.edition != "full" and scenario.builder is not None:
        return Source(built_in_cache(scenario).as_posix())
    raise DataError(
        f"the features of {scenario.id!r} are not built on demand; pass --data FOLDER (made by `lamofcbench build`) or "
        "--data hf://datasets/org/name; in Python data_dir='FOLDER' or repo='org/name'"
    )


def _repository(uri: str) -> tuple[str, str | None]:
    """The repository and revision of ``hf://datasets/org/name[@revision]``."""
    match = _HUB_DATASET.fullmatch(uri)
    if match is None:
        raise DataError(f"{shown(uri)} names no dataset repository; write hf://datasets/org/name or .../name@REVISION")
    return match["repo"], match["revision"]


def locate(uri: str) -> str | Path:
    """The local path of a file by its URI, downloaded where it comes from the Hub."""
    if not uri.startswith("hf://"):
        return uri
    match = _HUB_URI.match(uri)
    if match is None or not uri.startswith("/", match.end()):
        raise DataError(f"{shown(uri)} does not name a file at a 40-digit commit: hf://datasets/org/name@commit/file")
    return Source(match[0]).path_of(uri[match.end() + 1 :])


@functools.lru_cache(maxsize=4096)
def download(repo: str, file: str, revision: str) -> Path:
    """The local path of a file of a dataset repository.

    Raises:
        DataError: if repository, revision or file does not exist, or the Hub cannot be reached.
    """
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(repo, file, repo_type="dataset", revision=revision))
    except errors.LocalEntryNotFoundError as error:
        raise DataError(f"{file} of {repo}@{revision} is not downloaded yet and the Hub cannot be reached") from error
    except errors.EntryNotFoundError as error:
        raise DataError(f"the Hub dataset {repo}@{revision} has no {file}; is it a LaMoFCBench dataset?") from error
    except errors.RevisionNotFoundError as error:
        raise DataError(f"the Hub dataset {repo} has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(f"there is no Hub dataset {repo!r}, or it is private and no token is set") from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise DataError(f"cannot get {file} of the Hub dataset {repo}@{revision}: {first_line(error)}") from error


def _commit(repo: str, scenario: Scenario, revision: str | None) -> str:
    """The commit that a revision means now. The download's folder names it, which also works offline."""
    if revision is not None and COMMIT.fullmatch(revision):
        return revision
    download.cache_clear()  # a branch may have moved since it was last asked for
    path = download(repo, f"{scenario.id}/{MANIFEST_FILE}", revision or "main")
    commit = path.parent.parent.name
    if not COMMIT.fullmatch(commit):
        raise DataError(
            f"cannot tell which commit {revision or 'main'!r} of {repo} is; pass revision='<40-digit commit>'"
        )
    return commit


def _nothing_there(scenario: Scenario, folder: Path) -> str:
    if folder.exists() and not folder.is_dir():
        return f"{one_line(str(folder), 300)} is a file; pass the dataset folder"
    if not folder.is_dir():
        return f"there is no dataset folder {one_line(str(folder), 300)}"
    if (folder / MANIFEST_FILE).is_file():
        return f"{folder} is one scenario's folder; pass the dataset folder above it, {folder.parent}"
    there = sorted(path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST_FILE}"))
    return (
        f"{folder} holds no dataset of {scenario.id!r} (no {scenario.id}/{MANIFEST_FILE}); "
        f"it holds {one_line(', '.join(there), 500) or 'none at all'}"
    )
