"""Files, trees, commits and what a repository is."""

from __future__ import annotations

import re
from typing import Any

from loopback_hub.protocol import REPO, REVISION, SITE, Answer, RefusedError, Request, json_answer
from loopback_hub.repositories import WHEN, Blob
from loopback_hub.state import HubState


def resolve(hub: HubState, request: Request, kind: str | None, name: str, revision: str, path: str) -> Answer:
    """A file, or a part of it."""
    repository = hub.known({"datasets": "dataset", "spaces": "space"}.get(kind or "", "model"), name)
    # A pull request's ref has slashes: what follows it is the file.
    sha = repository.resolve(revision)
    if sha is None:
        raise RefusedError(404, "RevisionNotFound")
    hub.requests.append(f"{request.method} {path}@{revision}")
    blob = repository.commits[sha].get(path)
    headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
    if blob is None:
        return Answer(b"", 404, {**headers, "X-Error-Code": "EntryNotFound"})
    headers["ETag"] = f'"{blob.oid}"'
    if blob.lfs:
        headers |= {"X-Linked-Etag": f'"{blob.oid}"', "X-Linked-Size": str(len(blob.content))}
    part = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
    if part is None:
        return Answer(blob.content, 200, headers, path)
    first, last = int(part[1]), min(int(part[2] or len(blob.content)), len(blob.content) - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(blob.content)}"
    return Answer(blob.content[first : last + 1], 206, headers, path)


def info(hub: HubState, request: Request, kind: str, name: str, revision: str | None = None) -> Answer:
    """What a repository is at a revision."""
    repository = hub.known(kind, name)
    sha = repository.resolve(revision or "main")
    if sha is None:
        raise RefusedError(404, "RevisionNotFound")
    files = repository.commits[sha]
    siblings = [{"rfilename": path, "size": len(blob.content)} for path, blob in sorted(files.items())]
    return json_answer({"_id": "0", "id": name, "sha": sha, "private": False, "tags": [], "siblings": siblings})


def tree(hub: HubState, request: Request, kind: str, name: str, revision: str, path: str | None = None) -> Answer:
    """Files and folders."""
    repository = hub.known(kind, name)
    sha = repository.resolve(revision)
    if sha is None:
        raise RefusedError(404, "RevisionNotFound")
    below = f"{path}/" if path else ""
    deep = request.query.get("recursive", "").lower() in ("true", "1")
    found: dict[str, dict[str, Any]] = {}
    for file, blob in sorted(repository.commits[sha].items()):
        if file.startswith(below):
            parts = file.removeprefix(below).split("/")
            for depth in range(1, len(parts) if deep else min(2, len(parts))):
                folder = below + "/".join(parts[:depth])
                found[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
            if deep or len(parts) == 1:
                found[file] = _entry(file, blob)
    if below and not found:
        raise RefusedError(404, "EntryNotFound")
    return json_answer(list(found.values()))


def paths_info(hub: HubState, request: Request, kind: str, name: str, revision: str) -> Answer:
    """Files by name."""
    repository = hub.known(kind, name)
    sha = repository.resolve(revision)
    if sha is None:
        raise RefusedError(404, "RevisionNotFound")
    paths = request.json()["paths"]
    files = repository.commits[sha]
    return json_answer(
        [_entry(path, files[path]) for path in ([paths] if isinstance(paths, str) else paths) if path in files]
    )


def list_refs(hub: HubState, request: Request, kind: str, name: str) -> Answer:
    """Branches and pull requests."""
    repository = hub.known(kind, name)
    named = [
        {"name": ref, "ref": ref if ref.startswith("refs/") else f"refs/heads/{ref}", "targetCommit": sha}
        for ref, sha in repository.refs.items()
    ]
    pulls = [ref for ref in named if ref["name"].startswith("refs/pr/")]
    branches = [ref for ref in named if ref not in pulls]
    return json_answer({"branches": branches, "tags": [], "converts": [], "pullRequests": pulls})


def list_commits(hub: HubState, request: Request, kind: str, name: str, revision: str) -> Answer:
    """The commits of a revision, the newest first."""
    repository = hub.known(kind, name)
    sha = repository.resolve(revision)
    if sha is None:
        raise RefusedError(404, "RevisionNotFound")
    found = []
    while sha is not None:
        found.append({"id": sha, "authors": [], "date": WHEN, "title": "", "message": ""})
        sha = repository.parents[sha]
    return json_answer(found)


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    found = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.oid[:40]}
    return found | ({"lfs": {"oid": blob.oid, "size": len(blob.content), "pointerSize": 134}} if blob.lfs else {})


ROUTES = [
    ("GET HEAD", rf"{SITE}/resolve/{REVISION}/(?P<path>.+)", resolve),
    ("GET", rf"{REPO}(?:/revision/{REVISION})?", info),
    ("GET", rf"{REPO}/tree/{REVISION}(?:/(?P<path>.*))?", tree),
    ("POST", rf"{REPO}/paths-info/{REVISION}", paths_info),
    ("GET", rf"{REPO}/refs", list_refs),
    ("GET", rf"{REPO}/commits/{REVISION}", list_commits),
]
