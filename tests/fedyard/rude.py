"""A hub that answers what it is told to, however rudely: over a real socket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Seen:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """status 0 closes the connection without a word; `after` runs before the answer."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    after: Callable[[], object] = lambda: None


DROP = Answer(status=0)


def slow(seconds: float, answer: Answer) -> Answer:
    return Answer(answer.status, answer.body, answer.headers, answer.raw, after=lambda: time.sleep(seconds))


class RudeHub:
    """Gives `answers` in turn, the last one for ever; keeps what it saw."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.seen: list[Seen] = []
        self.url = ""

    def next(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def rude_hub(*answers: Answer) -> Iterator[RudeHub]:
    hub = RudeHub(*answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            answer = hub.next(Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            answer.after()
            if answer.status == 0:
                self.close_connection = True
                self.connection.close()
                return
            content = answer.raw if answer.raw is not None else json.dumps(answer.body).encode()
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - the names that the base class looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that hang up are what this is about."""

    server = Server(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
