"""Discussions and pull requests."""

from __future__ import annotations

from typing import Any

from loopback_hub.protocol import REPO, Answer, RefusedError, Request, json_answer
from loopback_hub.repositories import WHEN, Discussion, Repository
from loopback_hub.state import HubState


def open_discussion(repository: Repository, title: str, author: str, text: str, pull: bool = True) -> Discussion:
    opened = Discussion(len(repository.discussions) + 1, title, author, pull)
    repository.discussions.append(opened)
    if text:
        _event(opened, author, "comment", _comment(text))
    return opened


def discussions(hub: HubState, request: Request, kind: str, name: str) -> Answer:
    """All of them, or a new one."""
    repository = hub.known(kind, name)
    if request.method == "POST":
        asked, user = request.json(), request.user
        pull = bool(asked.get("pullRequest"))
        opened = open_discussion(repository, asked["title"], user, asked.get("description") or "", pull)
        if pull:
            repository.refs[f"refs/pr/{opened.num}"] = repository.refs["main"]
        return json_answer({"num": opened.num, "pullRequest": pull})
    wanted = {"pull_request": (True,), "discussion": (False,)}.get(request.query.get("type", "all"), (True, False))
    statuses = {"open": ("open", "draft"), "closed": ("closed", "merged")}.get(request.query.get("status", ""))
    found = [
        {"num": one.num, "title": one.title, "status": one.status, "isPullRequest": one.is_pull_request,
         "author": {"name": one.author}, "createdAt": WHEN, "repo": {"name": name, "type": kind}}
        for one in reversed(repository.discussions)
        if one.is_pull_request in wanted
        and (statuses is None or one.status in statuses)
        and request.query.get("author", one.author) == one.author
    ]  # fmt: skip
    page, size = int(request.query.get("p", 0)), 10
    return json_answer({"count": len(found), "start": page * size, "discussions": found[page * size :][:size]})


def discussion(hub: HubState, request: Request, kind: str, name: str, num: str) -> Answer:
    """One with its events."""
    one = _discussion(hub, kind, name, num)
    return json_answer(
        {"num": one.num, "title": one.title, "status": one.status, "author": {"name": one.author},
         "isPullRequest": one.is_pull_request, "createdAt": WHEN, "repo": {"name": name, "type": kind},
         "events": one.events, "changes": {"base": "refs/heads/main", "mergeCommitId": None},
         "filesWithConflicts": [], "diff": ""}
    )  # fmt: skip


def change_discussion(
    hub: HubState, request: Request, kind: str, name: str, num: str, what: str, event: str | None = None
) -> Answer:
    """A comment, an edit of one, a new title or status, a merge."""
    one, user, asked = _discussion(hub, kind, name, num), request.user, request.json()
    if what == "comment" and event:
        found = next((found for found in one.events if found["id"] == event), None)
        if found is None:
            raise RefusedError(404, "", "Comment not found")
        found["data"] = _comment(asked["content"], edited=True)
        return json_answer({"updatedComment": found})
    if what == "comment":
        return json_answer({"newMessage": _event(one, user, "comment", _comment(asked["comment"]))})
    if what == "title":
        change = {"from": one.title, "to": asked["title"]}
        one.title = asked["title"]
        return json_answer({"newTitle": _event(one, user, "title-change", change)})
    if what == "status":
        one.status = asked["status"]
        return json_answer({"newStatus": _event(one, user, "status-change", {"status": one.status})})
    one.status = "merged"
    repository = hub.known(kind, name)
    repository.refs["main"] = repository.refs[f"refs/pr/{num}"]
    return json_answer({})


def _discussion(hub: HubState, kind: str, name: str, num: str) -> Discussion:
    found = hub.known(kind, name).discussions
    if not 0 < int(num) <= len(found):
        raise RefusedError(404, "", "Discussion not found")
    return found[int(num) - 1]


def _event(one: Discussion, author: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    event = {"id": f"{one.num:04x}{len(one.events):04x}", "type": kind, "createdAt": WHEN}
    event |= {"author": {"name": author}, "data": data}
    one.events.append(event)
    return event


def _comment(text: str, *, edited: bool = False) -> dict[str, Any]:
    return {"edited": edited, "hidden": False, "latest": {"raw": text}}


ROUTES = [
    ("GET POST", rf"{REPO}/discussions", discussions),
    ("GET", rf"{REPO}/discussions/(?P<num>\d+)", discussion),
    ("POST", rf"{REPO}/discussions/(?P<num>\d+)/(?P<what>title|status|merge)", change_discussion),
    ("POST", rf"{REPO}/discussions/(?P<num>\d+)/(?P<what>comment)(?:/(?P<event>\w+)/edit)?", change_discussion),
]
