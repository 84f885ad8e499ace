"""The hub's side of a job's files, as what fetches and stores them sees it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fedyard.wire.chunks import chunk_of, count_of, digests_of, tree_digest


class Hub(ThreadingHTTPServer):
    """Of one workload. refuses: what it answers to who wants to store; busy: to so many requests 503 before that.
    crowded: so many requests to store find too many unfinished uploads, and so does each repeat under the same key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.inputs: dict[str, bytes] = {}
        self.declared: dict[str, dict[str, Any]] = {}
        self.chunks: dict[tuple[str, int], bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.refuses: tuple[int, str] | None = None
        self.busy = self.crowded = 0
        self.crowded_out: set[str | None] = set()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._came()
        content = self.server.inputs.get(self.path.rpartition("/inputs/")[2])
        self._answer(404 if content is None else 200, content or b"")

    def do_POST(self) -> None:
        body = self._came()
        hub = self.server
        if hub.busy:
            hub.busy -= 1
            self._answer(503, b"{}")
            return
        key = self.headers["Idempotency-Key"]
        if hub.crowded or key in hub.crowded_out:
            hub.crowded -= key not in hub.crowded_out
            hub.crowded_out.add(key)
            self._answer(409, b'{"type": "/problems/unfinished_artifacts", "detail": "16 are declared and not stored"}')
            return
        if hub.refuses is not None:
            status, detail = hub.refuses
            self._answer(status, json.dumps({"detail": detail}).encode())
            return
        name = re.findall(r"/outputs/([^/]+)", self.path)[0]
        if self.path.endswith("/complete"):
            count = count_of(hub.declared[name]["size_bytes"])
            whole = b"".join(hub.chunks[name, number] for number in range(count))
            assert tree_digest(digests_of(whole)) == hub.declared[name]["digest"]
            hub.stored[name] = whole
            self._answer(200, b"{}")
            return
        hub.declared[name] = said = json.loads(body)
        assert tree_digest(base64.b64decode(said["chunk_digests"])) == said["digest"]
        have = {number for of, number in hub.chunks if of == name}
        need = [number for number in range(count_of(said["size_bytes"])) if number not in have]
        self._answer(201, json.dumps({"id": "x", "state": "declared", "need": need}).encode())

    def do_PUT(self) -> None:
        body = self._came()
        name, number = re.findall(r"/outputs/([^/]+)/chunks/([0-9]+)", self.path)[0]
        said = self.server.declared[name]
        chunk = chunk_of(int(number), said["size_bytes"], base64.b64decode(said["chunk_digests"]))
        assert chunk.sha256 == hashlib.sha256(body).hexdigest()
        self.server.chunks[name, int(number)] = body
        self._answer(204, b"")

    def _came(self) -> bytes:
        assert self.headers["Authorization"] == "Bearer secret"
        self.server.asked.append(f"{self.command} {self.path.removeprefix('/v1/workloads/w')}")
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
