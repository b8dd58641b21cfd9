"""Repositories in memory: files, commits, and discussions."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".png", ".zip")
_COMMITS = itertools.count()
"""Of all Hubs of a process: what it keeps by repository and commit is never that of another test."""

WHEN = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Blob:
    """A file's content, and whether it was sent as LFS."""

    content: bytes
    lfs: bool = False

    @property
    def oid(self) -> str:
        """Git's name of a regular file, the sha256 of an LFS file: its ETag."""
        if self.lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


Files = Mapping[str, Blob]


@dataclass
class Discussion:
    """A discussion or pull request."""

    num: int
    title: str
    author: str
    is_pull_request: bool
    status: str = "open"
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Repository:
    """Commits by name, and what branches, tags and pull requests point to."""

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    parents: dict[str, str | None] = field(default_factory=dict)
    discussions: list[Discussion] = field(default_factory=list)

    def commit(self, ref: str, files: Files, message: str = "", parent: str | None = None) -> str:
        """A new commit at a ref, upon what it points to where no parent is named."""
        seed = f"{next(_COMMITS)} {ref} {sorted((name, blob.oid) for name, blob in files.items())}"
        sha = hashlib.sha1(seed.encode()).hexdigest()
        self.parents[sha] = parent or self.refs.get(ref)
        self.commits[sha], self.refs[ref] = files, sha
        self.messages.append(message)
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, tag, pull request or commit."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)
