"""A Hub on the loopback device that serves the files of dataset repositories, as far as downloading needs it."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class LoopbackHub:
    """Repositories by name: branches and tags to commits, commits to folders.

    Attributes:
        requests: ``METHOD file@revision`` of what was asked for, in order.
    """

    refs: dict[tuple[str, str], str] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def commit(self, repo: str, ref: str, folder: Path) -> str:
        """Publishes a folder under a branch or tag; returns the commit."""
        commit = hashlib.sha1(f"{repo} {ref} {folder}".encode()).hexdigest()
        self.refs[repo, ref] = self.refs[repo, commit] = commit
        self.folders[commit] = folder
        return commit

    def start(self) -> str:
        """Serves until the process ends; returns the endpoint."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self)

            do_GET = do_HEAD  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answers one request for a file; errors carry the header that the client tells them apart by."""
        match = re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", request.path)
        content, headers = b"", {}
        if match is None or not any(repo == match[1] for repo, _ in self.refs):
            headers["X-Error-Code"] = "RepoNotFound"
        elif (match[1], match[2]) not in self.refs:
            headers["X-Error-Code"] = "RevisionNotFound"
        else:
            commit = self.refs[match[1], match[2]]
            headers["X-Repo-Commit"] = commit
            self.requests.append(f"{request.command} {match[3]}@{match[2]}")
            path = self.folders[commit] / match[3]
            if path.is_file():
                content = path.read_bytes()
                headers["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
            else:
                headers["X-Error-Code"] = "EntryNotFound"
        request.send_response(404 if "X-Error-Code" in headers else 200)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content)
