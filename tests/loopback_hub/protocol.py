"""A request taken apart, and an answer to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

TOKENS = {"hf_owner": "owner", "hf_other": "other"}
"""Who a token is; writing takes one of these."""


class CutError(Exception):
    """The answer is to end after so many bytes."""

    def __init__(self, after_bytes: int) -> None:
        super().__init__(after_bytes)
        self.after_bytes = after_bytes


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
    file: str = ""
    """Which file this is of, to be counted."""


def body_of(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding") != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    parts = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(parts)


def json_answer(value: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), status, {"Content-Type": "application/json"})


REPO = r"/api/(?P<kind>model|dataset|space)s/(?P<name>[\w.-]+/[\w.-]+)"
SITE = r"/(?:(?P<kind>datasets|spaces)/)?(?P<name>[\w.-]+/[\w.-]+)"
REVISION = r"(?P<revision>refs/pr/\d+|[^/]+)"
"""Patterns of addresses."""
