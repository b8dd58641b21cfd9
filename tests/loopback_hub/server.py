"""The server on the loopback device."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from loopback_hub import discussing, reading, writing
from loopback_hub.protocol import Answer, CutError, RefusedError, Request, body_of
from loopback_hub.state import HubState

ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [*writing.ROUTES, *reading.ROUTES, *discussing.ROUTES]
"""Methods, pattern of the address, and what answers; the groups of a pattern are its arguments."""


@dataclass
class LoopbackHub(HubState):
    """A Hub; `loopback_hub.connected` turns the client of this process towards it."""

    endpoint: str = ""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def start(self) -> str:
        """Serves until the process ends; returns the endpoint."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each body would wait 40 ms for the head's acknowledgement

            def do_GET(self) -> None:
                hub.serve(self)

            do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{server.server_port}"
        return self.endpoint

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        url = urlsplit(handler.path)
        query = {name: found[0] for name, found in parse_qs(url.query).items()}
        host = f"http://{handler.headers['Host']}"
        request = Request(handler.command, unquote(url.path), query, handler.headers, body_of(handler), host)
        cut_after_bytes = None
        try:
            try:
                for fault in list(self.faults):
                    fault(request)
            except CutError as cut:
                cut_after_bytes = cut.after_bytes
            with self._lock:
                answer = self._answer(request)
        except ConnectionError:
            handler.close_connection = True
            handler.connection.close()
            return
        except RefusedError as refusal:
            headers = {"X-Error-Code": refusal.code} if refusal.code else {}
            answer = Answer(json.dumps({"error": str(refusal)}).encode(), refusal.status, headers)
        self._send(handler, answer, cut_after_bytes)

    def _answer(self, request: Request) -> Answer:
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, request.path)
            if match and request.method in method.split():
                return answer(self, request, **match.groupdict())
        if request.path.startswith("/api/"):
            raise RefusedError(404, "RepoNotFound")
        raise RefusedError(404, "EntryNotFound")

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer, cut_after_bytes: int | None) -> None:
        handler.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "HEAD":
            return
        body = answer.body[:cut_after_bytes]
        with contextlib.suppress(ConnectionError):
            handler.wfile.write(body)
        if answer.file:
            with self._lock:
                self.fetched_bytes[answer.file] += len(body)
        if len(body) < len(answer.body):
            handler.close_connection = True
