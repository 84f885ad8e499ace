"""A hub that is a list of answers."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Answers(ThreadingHTTPServer):
    """status: of the next answers; afterwards 200."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        super().__init__(("127.0.0.1", 0), Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: Answers
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = {"path": self.path, "key": self.headers["Idempotency-Key"], "by": self.headers["Authorization"], **body}
        self.server.asked.append(asked)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        slug = {401: "token_not_valid", 409: "round_over"}.get(status, "")
        content = json.dumps({"type": f"https://fedyard/{slug}", "status": status} if status >= 400 else {}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def told(hub: Answers) -> list[tuple[int, str]]:
    return [(one["number"], one["stage"]) for one in hub.asked]
