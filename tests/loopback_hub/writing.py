"""New repositories, uploads and commits."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from loopback_hub.discussing import open_discussion
from loopback_hub.protocol import REPO, REVISION, SITE, Answer, RefusedError, Request, json_answer
from loopback_hub.repositories import LFS_SUFFIXES, Blob
from loopback_hub.state import HubState


def who_am_i(hub: HubState, request: Request) -> Answer:
    """Whose token it is."""
    return json_answer({"name": request.user, "type": "user", "orgs": [], "auth": {"type": "access_token"}})


def create(hub: HubState, request: Request) -> Answer:
    """A new repository."""
    asked = request.json()
    name, kind = f"{asked.get('organization') or request.user}/{asked['name']}", asked.get("type", "model")
    place = f"{request.host}/{'' if kind == 'model' else f'{kind}s/'}{name}"
    if (kind, name) in hub.repositories:
        return json_answer({"error": "You already created this repo", "url": place, "name": name}, 409)
    hub.repository(name, kind)
    return json_answer({"url": place, "name": name})


def validate_yaml(hub: HubState, request: Request) -> Answer:
    """Whether a card's front matter is in order; here it always is."""
    return json_answer({"errors": [], "warnings": []})


def preupload(hub: HubState, request: Request, kind: str, name: str, revision: str) -> Answer:
    """Which files go as LFS, and what of them is there already."""
    assert request.user
    repository = hub.known(kind, name)
    files = repository.commits[repository.resolve(revision) or repository.refs["main"]]
    return json_answer(
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


def lfs_batch(hub: HubState, request: Request, kind: str | None, name: str) -> Answer:
    """Where LFS contents that are not here yet are to be sent."""
    assert request.user
    objects = []
    for asked in json.loads(request.body)["objects"]:
        actions = {"upload": {"href": f"{request.host}/lfs/{asked['oid']}", "header": {}}}
        objects.append(asked if asked["oid"] in hub.lfs else {**asked, "actions": actions})
    return Answer(
        json.dumps({"transfer": "basic", "objects": objects}).encode(),
        headers={"Content-Type": "application/vnd.git-lfs+json"},
    )


def lfs_put(hub: HubState, request: Request, oid: str) -> Answer:
    """An LFS content."""
    hub.sent_bytes[oid] += len(request.body)
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise RefusedError(400, "", "content is not of that hash")
    hub.lfs[oid] = request.body
    hub.uploads.append(oid)
    return Answer()


def create_commit(hub: HubState, request: Request, kind: str, name: str, revision: str) -> Answer:
    """A commit on a branch, or one that opens a pull request."""
    user, repository = request.user, hub.known(kind, name)
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
        _apply(hub, files, operation["key"], operation["value"])
    title = header["value"]["summary"]
    opened = open_discussion(repository, title, user, header["value"].get("description", "")) if pull_request else None
    ref = revision if opened is None else f"refs/pr/{opened.num}"
    sha = repository.commit(ref, files, title, parent if parent and pull_request else base)
    place = f"{request.host}/{'' if kind == 'model' else f'{kind}s/'}{name}"
    found = {"success": True, "commitOid": sha, "commitUrl": f"{place}/commit/{sha}"}
    return json_answer(found | ({} if opened is None else {"pullRequestUrl": f"{place}/discussions/{opened.num}"}))


def _apply(hub: HubState, files: dict[str, Blob], key: str, value: Mapping[str, Any]) -> None:
    if key == "file":
        content = base64.b64decode(value["content"])
        files[value["path"]] = Blob(content)
        hub.sent_bytes[value["path"]] += len(content)
        hub.uploads.append(value["path"])
    elif key == "lfsFile":
        if value["oid"] not in hub.lfs:
            raise RefusedError(400, "", f"LFS object {value['oid']} is missing")
        files[value["path"]] = Blob(hub.lfs[value["oid"]], lfs=True)
    elif key == "deletedFile":
        files.pop(value["path"], None)
    elif key == "deletedFolder":
        for path in [path for path in files if path.startswith(value["path"].rstrip("/") + "/")]:
            del files[path]


ROUTES = [
    ("GET", r"/api/whoami-v2", who_am_i),
    ("POST", r"/api/validate-yaml", validate_yaml),
    ("POST", r"/api/repos/create", create),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", lfs_put),
    ("POST", rf"{SITE}\.git/info/lfs/objects/batch", lfs_batch),
    ("POST", rf"{REPO}/preupload/{REVISION}", preupload),
    ("POST", rf"{REPO}/commit/{REVISION}", create_commit),
]
