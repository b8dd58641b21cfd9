"""A Hub on the loopback device: what the real huggingface_hub client asks of one, with repositories in memory.

Repositories, commits (regular and LFS uploads), files by range, trees, pull requests and discussions. It counts what is
sent and fetched, and can be told to fail, so that tests prove what an interrupted upload costs.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".png", ".zip")
WHEN = "2026-01-01T00:00:00.000Z"
TOKENS = {"hf_owner": "owner", "hf_other": "other"}
"""Who a token is; writing takes one of these."""


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
        seed = f"{len(self.commits)} {ref} {sorted((name, blob.oid) for name, blob in files.items())}"
        sha = hashlib.sha1(seed.encode()).hexdigest()
        self.parents[sha] = parent or self.refs.get(ref)
        self.commits[sha], self.refs[ref] = files, sha
        self.messages.append(message)
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, tag, pull request or commit."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)


class RefusedError(Exception):
    """An answer that is an error: status, the client's code for it, and text."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message or code)
        self.status, self.code = status, code


@dataclass
class Request:
    """One request, taken apart."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    host: str

    @property
    def user(self) -> str:
        """Who asks."""
        user = TOKENS.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if user is None:
            raise RefusedError(401, "", "Invalid username or password.")
        return user

    def json(self) -> dict[str, Any]:
        """The body, JSON or a form."""
        if "json" in self.headers.get("Content-Type", "json"):
            return json.loads(self.body or b"{}")
        form = parse_qs(self.body.decode())
        return {name: found if name == "paths" else found[0] for name, found in form.items()}


@dataclass
class Answer:
    """What is sent back."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class LoopbackHub:
    """The server and what it holds.

    Attributes:
        repositories: by kind (model, dataset, space) and name.
        lfs: uploaded contents by sha256.
        requests: ``METHOD file@revision`` of what was asked for, in order.
        uploads: paths of regular files and hashes of LFS files that were sent, in order.
        faults: called for every request before it is answered; may raise `RefusedError` or `ConnectionError`.
    """

    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    faults: list[Callable[[Request], None]] = field(default_factory=list)
    endpoint: str = ""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # ------------------------------------------------------------------------------------------------ by hand

    def repository(self, name: str, kind: str = "dataset") -> Repository:
        """A repository, made where it is not there yet."""
        if (kind, name) not in self.repositories:
            self.repositories[kind, name] = Repository()
            self.repositories[kind, name].commit("main", {}, "initial commit")
        return self.repositories[kind, name]

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

    def start(self) -> str:
        """Serves until the process ends; returns the endpoint."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.serve(self)

            do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{server.server_port}"
        return self.endpoint

    # ------------------------------------------------------------------------------------------------ one request

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        url = urlsplit(handler.path)
        query = {name: found[0] for name, found in parse_qs(url.query).items()}
        host = f"http://{handler.headers['Host']}"
        request = Request(handler.command, unquote(url.path), query, handler.headers, _body(handler), host)
        try:
            for fault in list(self.faults):
                fault(request)
            with self._lock:
                answer = self._answer(request)
        except ConnectionError:
            handler.close_connection = True
            handler.connection.close()
            return
        except RefusedError as refusal:
            headers = {"X-Error-Code": refusal.code} if refusal.code else {}
            answer = Answer(json.dumps({"error": str(refusal)}).encode(), refusal.status, headers)
        handler.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                handler.wfile.write(answer.body)

    def _answer(self, request: Request) -> Answer:
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, request.path)
            if match and request.method in method.split():
                return answer(self, request, **match.groupdict())
        if request.path.startswith("/api/"):
            raise RefusedError(404, "RepoNotFound")
        raise RefusedError(404, "EntryNotFound")

    def _known(self, kind: str, name: str) -> Repository:
        repository = self.repositories.get((kind, name))
        if repository is None:
            raise RefusedError(404, "RepoNotFound", "Repository not found")
        return repository

    # ------------------------------------------------------------------------------------------------ reading

    def resolve(self, request: Request, kind: str | None, name: str, revision: str, path: str) -> Answer:
        """A file, or a part of it."""
        repository = self._known({"datasets": "dataset", "spaces": "space"}.get(kind or "", "model"), name)
        # A pull request's ref has slashes: what follows it is the file.
        sha = repository.resolve(revision)
        if sha is None:
            raise RefusedError(404, "RevisionNotFound")
        self.requests.append(f"{request.method} {path}@{revision}")
        blob = repository.commits[sha].get(path)
        headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if blob is None:
            return Answer(b"", 404, {**headers, "X-Error-Code": "EntryNotFound"})
        headers["ETag"] = f'"{blob.oid}"'
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.oid}"', "X-Linked-Size": str(len(blob.content))}
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
        if part is None:
            return Answer(blob.content, 200, headers)
        first, last = int(part[1]), min(int(part[2] or len(blob.content)), len(blob.content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(blob.content)}"
        return Answer(blob.content[first : last + 1], 206, headers)

    def info(self, request: Request, kind: str, name: str, revision: str | None = None) -> Answer:
        """What a repository is at a revision."""
        repository = self._known(kind, name)
        sha = repository.resolve(revision or "main")
        if sha is None:
            raise RefusedError(404, "RevisionNotFound")
        files = repository.commits[sha]
        siblings = [{"rfilename": path, "size": len(blob.content)} for path, blob in sorted(files.items())]
        return _json({"_id": "0", "id": name, "sha": sha, "private": False, "tags": [], "siblings": siblings})

    def tree(self, request: Request, kind: str, name: str, revision: str, path: str | None = None) -> Answer:
        """Files and folders."""
        repository = self._known(kind, name)
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
        return _json(list(found.values()))

    def paths_info(self, request: Request, kind: str, name: str, revision: str) -> Answer:
        """Files by name."""
        repository = self._known(kind, name)
        sha = repository.resolve(revision)
        if sha is None:
            raise RefusedError(404, "RevisionNotFound")
        paths = request.json()["paths"]
        files = repository.commits[sha]
        return _json(
            [_entry(path, files[path]) for path in ([paths] if isinstance(paths, str) else paths) if path in files]
        )

    def list_refs(self, request: Request, kind: str, name: str) -> Answer:
        """Branches and pull requests."""
        repository = self._known(kind, name)
        named = [
            {"name": ref, "ref": ref if ref.startswith("refs/") else f"refs/heads/{ref}", "targetCommit": sha}
            for ref, sha in repository.refs.items()
        ]
        pulls = [ref for ref in named if ref["name"].startswith("refs/pr/")]
        branches = [ref for ref in named if ref not in pulls]
        return _json({"branches": branches, "tags": [], "converts": [], "pullRequests": pulls})

    def list_commits(self, request: Request, kind: str, name: str, revision: str) -> Answer:
        """The commits of a revision, the newest first."""
        repository = self._known(kind, name)
        sha = repository.resolve(revision)
        if sha is None:
            raise RefusedError(404, "RevisionNotFound")
        found = []
        while sha is not None:
            found.append({"id": sha, "authors": [], "date": WHEN, "title": "", "message": ""})
            sha = repository.parents[sha]
        return _json(found)

    # ------------------------------------------------------------------------------------------------ writing

    def who_am_i(self, request: Request) -> Answer:
        """Whose token it is."""
        return _json({"name": request.user, "type": "user", "orgs": [], "auth": {"type": "access_token"}})

    def create(self, request: Request) -> Answer:
        """A new repository."""
        asked = request.json()
        name, kind = f"{asked.get('organization') or request.user}/{asked['name']}", asked.get("type", "model")
        place = f"{request.host}/{'' if kind == 'model' else f'{kind}s/'}{name}"
        if (kind, name) in self.repositories:
            return _json({"error": "You already created this repo", "url": place, "name": name}, 409)
        self.repository(name, kind)
        return _json({"url": place, "name": name})

    def validate_yaml(self, request: Request) -> Answer:
        """Whether a card's front matter is in order; here it always is."""
        return _json({"errors": [], "warnings": []})

    def preupload(self, request: Request, kind: str, name: str, revision: str) -> Answer:
        """Which files go as LFS, and what of them is there already."""
        assert request.user
        repository = self._known(kind, name)
        files = repository.commits[repository.resolve(revision) or repository.refs["main"]]
        return _json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular",
                        "shouldIgnore": False,
                        **({"oid": files[file["path"]].oid} if file["path"] in files else {}),
                    }
                    for file in request.json()["files"]
                ]
            }
        )

    def lfs_batch(self, request: Request, kind: str | None, name: str) -> Answer:
        """Where LFS contents that are not here yet are to be sent."""
        assert request.user
        objects = []
        for asked in json.loads(request.body)["objects"]:
            actions = {"upload": {"href": f"{request.host}/lfs/{asked['oid']}", "header": {}}}
            objects.append(asked if asked["oid"] in self.lfs else {**asked, "actions": actions})
        return Answer(
            json.dumps({"transfer": "basic", "objects": objects}).encode(),
            headers={"Content-Type": "application/vnd.git-lfs+json"},
        )

    def lfs_put(self, request: Request, oid: str) -> Answer:
        """An LFS content."""
        if hashlib.sha256(request.body).hexdigest() != oid:
            raise RefusedError(400, "", "content is not of that hash")
        self.lfs[oid] = request.body
        self.uploads.append(oid)
        return Answer()

    def create_commit(self, request: Request, kind: str, name: str, revision: str) -> Answer:
        """A commit on a branch, or one that opens a pull request."""
        user, repository = request.user, self._known(kind, name)
        base = repository.resolve(revision)
        if base is None:
            raise RefusedError(404, "RevisionNotFound")
        header, *operations = [json.loads(line) for line in request.body.splitlines()]
        parent = header["value"].get("parentCommit")
        pull_request = request.query.get("create_pr") == "1"
        if parent and not pull_request and not base.startswith(parent):
            raise RefusedError(412, "", "A commit has happened since. Please refresh and try again.")
        files = dict(repository.commits[parent if parent and pull_request else base])
        for operation in operations:
            self._apply(files, operation["key"], operation["value"])
        title = header["value"]["summary"]
        opened = self._opened(repository, title, user, header["value"].get("description", "")) if pull_request else None
        ref = revision if opened is None else f"refs/pr/{opened.num}"
        sha = repository.commit(ref, files, title, parent if parent and pull_request else base)
        place = f"{request.host}/{'' if kind == 'model' else f'{kind}s/'}{name}"
        found = {"success": True, "commitOid": sha, "commitUrl": f"{place}/commit/{sha}"}
        return _json(found | ({} if opened is None else {"pullRequestUrl": f"{place}/discussions/{opened.num}"}))

    def _apply(self, files: dict[str, Blob], key: str, value: Mapping[str, Any]) -> None:
        if key == "file":
            files[value["path"]] = Blob(base64.b64decode(value["content"]))
            self.uploads.append(value["path"])
        elif key == "lfsFile":
            if value["oid"] not in self.lfs:
                raise RefusedError(400, "", f"LFS object {value['oid']} is missing")
            files[value["path"]] = Blob(self.lfs[value["oid"]], lfs=True)
        elif key == "deletedFile":
            files.pop(value["path"], None)
        elif key == "deletedFolder":
            for path in [path for path in files if path.startswith(value["path"].rstrip("/") + "/")]:
                del files[path]

    # ------------------------------------------------------------------------------------------------ discussions

    def _opened(self, repository: Repository, title: str, author: str, text: str, pull: bool = True) -> Discussion:
        opened = Discussion(len(repository.discussions) + 1, title, author, pull)
        repository.discussions.append(opened)
        if text:
            _event(opened, author, "comment", _comment(text))
        return opened

    def discussions(self, request: Request, kind: str, name: str) -> Answer:
        """All of them, or a new one."""
        repository = self._known(kind, name)
        if request.method == "POST":
            asked, user = request.json(), request.user
            pull = bool(asked.get("pullRequest"))
            opened = self._opened(repository, asked["title"], user, asked.get("description") or "", pull)
            if pull:
                repository.refs[f"refs/pr/{opened.num}"] = repository.refs["main"]
            return _json({"num": opened.num, "pullRequest": pull})
        wanted = {"pull_request": (True,), "discussion": (False,)}.get(request.query.get("type", "all"), (True, False))
        statuses = {"open": ("open", "draft"), "closed": ("closed", "merged")}.get(request.query.get("status", ""))
        found = [
            {"num": one.num, "title": one.title, "status": one.status, "isPullRequest": one.is_pull_request,
             "author": {"name": one.author}, "createdAt": WHEN, "repo": {"name": name, "type": kind}}
            for one in reversed(repository.discussions)
            if one.is_pull_request in wanted and (statuses is None or one.status in statuses)
        ]  # fmt: skip
        page, size = int(request.query.get("p", 0)), 10
        return _json({"count": len(found), "start": page * size, "discussions": found[page * size :][:size]})

    def discussion(self, request: Request, kind: str, name: str, num: str) -> Answer:
        """One with its events."""
        one = self._discussion(kind, name, num)
        return _json(
            {"num": one.num, "title": one.title, "status": one.status, "author": {"name": one.author},
             "isPullRequest": one.is_pull_request, "createdAt": WHEN, "repo": {"name": name, "type": kind},
             "events": one.events, "changes": {"base": "refs/heads/main", "mergeCommitId": None},
             "filesWithConflicts": [], "diff": ""}
        )  # fmt: skip

    def change_discussion(
        self, request: Request, kind: str, name: str, num: str, what: str, event: str | None = None
    ) -> Answer:
        """A comment, an edit of one, a new title or status, a merge."""
        one, user, asked = self._discussion(kind, name, num), request.user, request.json()
        if what == "comment" and event:
            found = next((found for found in one.events if found["id"] == event), None)
            if found is None:
                raise RefusedError(404, "", "Comment not found")
            found["data"] = _comment(asked["content"], edited=True)
            return _json({"updatedComment": found})
        if what == "comment":
            return _json({"newMessage": _event(one, user, "comment", _comment(asked["comment"]))})
        if what == "title":
            change = {"from": one.title, "to": asked["title"]}
            one.title = asked["title"]
            return _json({"newTitle": _event(one, user, "title-change", change)})
        if what == "status":
            one.status = asked["status"]
            return _json({"newStatus": _event(one, user, "status-change", {"status": one.status})})
        one.status = "merged"
        repository = self._known(kind, name)
        repository.refs["main"] = repository.refs[f"refs/pr/{num}"]
        return _json({})

    def _discussion(self, kind: str, name: str, num: str) -> Discussion:
        found = self._known(kind, name).discussions
        if not 0 < int(num) <= len(found):
            raise RefusedError(404, "", "Discussion not found")
        return found[int(num) - 1]


_REPO = r"/api/(?P<kind>model|dataset|space)s/(?P<name>[\w.-]+/[\w.-]+)"
_SITE = r"/(?:(?P<kind>datasets|spaces)/)?(?P<name>[\w.-]+/[\w.-]+)"
_REVISION = r"(?P<revision>refs/pr/\d+|[^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", r"/api/whoami-v2", LoopbackHub.who_am_i),
    ("POST", r"/api/validate-yaml", LoopbackHub.validate_yaml),
    ("POST", r"/api/repos/create", LoopbackHub.create),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", LoopbackHub.lfs_put),
    ("POST", rf"{_SITE}\.git/info/lfs/objects/batch", LoopbackHub.lfs_batch),
    ("GET HEAD", rf"{_SITE}/resolve/{_REVISION}/(?P<path>.+)", LoopbackHub.resolve),
    ("GET", rf"{_REPO}(?:/revision/{_REVISION})?", LoopbackHub.info),
    ("GET", rf"{_REPO}/tree/{_REVISION}(?:/(?P<path>.*))?", LoopbackHub.tree),
    ("POST", rf"{_REPO}/paths-info/{_REVISION}", LoopbackHub.paths_info),
    ("GET", rf"{_REPO}/refs", LoopbackHub.list_refs),
    ("GET", rf"{_REPO}/commits/{_REVISION}", LoopbackHub.list_commits),
    ("POST", rf"{_REPO}/preupload/{_REVISION}", LoopbackHub.preupload),
    ("POST", rf"{_REPO}/commit/{_REVISION}", LoopbackHub.create_commit),
    ("GET POST", rf"{_REPO}/discussions", LoopbackHub.discussions),
    ("GET", rf"{_REPO}/discussions/(?P<num>\d+)", LoopbackHub.discussion),
    ("POST", rf"{_REPO}/discussions/(?P<num>\d+)/(?P<what>title|status|merge)", LoopbackHub.change_discussion),
    ("POST", rf"{_REPO}/discussions/(?P<num>\d+)/(?P<what>comment)(?:/(?P<event>\w+)/edit)?",
     LoopbackHub.change_discussion),
]  # fmt: skip


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding") != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    parts = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(parts)


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), status, {"Content-Type": "application/json"})


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    found = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.oid[:40]}
    return found | ({"lfs": {"oid": blob.oid, "size": len(blob.content), "pointerSize": 134}} if blob.lfs else {})


def _event(one: Discussion, author: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    event = {"id": f"{one.num:04x}{len(one.events):04x}", "type": kind, "createdAt": WHEN}
    event |= {"author": {"name": author}, "data": data}
    one.events.append(event)
    return event


def _comment(text: str, *, edited: bool = False) -> dict[str, Any]:
    return {"edited": edited, "hidden": False, "latest": {"raw": text}}


def failing(times: int, matches: Callable[[Request], bool], status: int | None = None) -> Callable[[Request], None]:
    """A fault: so many matching requests are refused with a status, or cut off where that is None."""
    left = [times]

    def fault(request: Request) -> None:
        if left[0] and matches(request):
            left[0] -= 1
            if status is None:
                raise ConnectionError
            raise RefusedError(status)

    return fault


@contextlib.contextmanager
def connected(hub: LoopbackHub, cache: Path, token: str | None = "hf_owner") -> Iterator[LoopbackHub]:
    """Turns the huggingface_hub of this process towards a hub for a while, with a cache of its own.

    The constants are read at the client's first import, so they are changed and put back.
    """
    import os

    import datasets
    from huggingface_hub import constants

    endpoint = hub.endpoint or hub.start()
    changes = {
        (constants, "ENDPOINT"): endpoint,
        (constants, "HUGGINGFACE_CO_URL_TEMPLATE"): f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        (constants, "HF_HUB_OFFLINE"): False,
        (constants, "HF_HUB_DISABLE_XET"): True,
        (constants, "HF_HUB_CACHE"): str(cache),
        (datasets.config, "HF_HUB_OFFLINE"): False,
        (datasets.config, "HF_ENDPOINT"): endpoint,
    }
    before = {(module, name): getattr(module, name) for module, name in changes}
    settings = {"HF_TOKEN": token, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    environment = {name: os.environ.get(name) for name in settings}
    try:
        for (module, name), value in changes.items():
            setattr(module, name, value)
        _set_environment(settings)
        yield hub
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)
        _set_environment(environment)


def _set_environment(settings: Mapping[str, str | None]) -> None:
    import os

    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
