"""What the server holds, what it counts, and what makes it fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from loopback_hub.protocol import RefusedError, Request
from loopback_hub.repositories import LFS_SUFFIXES, Blob, Files, Repository


@dataclass
class HubState:
    """Repositories and uploads, without the server.

    Attributes:
        repositories: by kind (model, dataset, space) and name.
        lfs: uploaded contents by sha256.
        requests: ``METHOD file@revision`` of what was asked for, in order.
        fetched_bytes: by file, what was sent to clients of it, cut off or not.
        uploads: paths of regular files and hashes of LFS files that were taken in, in order.
        sent_bytes: by path of a regular file and hash of an LFS file, what clients sent of it, taken in or not.
        faults: called for every request before it is answered; may raise `RefusedError`, `CutError` or
            `ConnectionError`.
    """

    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    fetched_bytes: Counter[str] = field(default_factory=Counter)
    uploads: list[str] = field(default_factory=list)
    sent_bytes: Counter[str] = field(default_factory=Counter)
    faults: list[Callable[[Request], None]] = field(default_factory=list)

    def repository(self, name: str, kind: str = "dataset") -> Repository:
        """A repository, made where it is not there yet."""
        if (kind, name) not in self.repositories:
            self.repositories[kind, name] = Repository()
            self.repositories[kind, name].commit("main", {}, "initial commit")
        return self.repositories[kind, name]

    def known(self, kind: str, name: str) -> Repository:
        """A repository that a client asks for."""
        repository = self.repositories.get((kind, name))
        if repository is None:
            raise RefusedError(404, "RepoNotFound", "Repository not found")
        return repository

    def commit(self, name: str, ref: str, folder: Path, kind: str = "dataset") -> str:
        """Publishes a folder under a branch or tag; returns the commit."""
        files = {
            path.relative_to(folder).as_posix(): Blob(path.read_bytes(), path.suffix in LFS_SUFFIXES)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return self.repository(name, kind).commit(ref, files)

    def files(self, name: str, revision: str = "main", kind: str = "dataset") -> Files:
        """What a repository holds at a revision."""
        repository = self.repositories[kind, name]
        return repository.commits[repository.resolve(revision) or ""]
