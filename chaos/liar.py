"""Between a site and its hub: a hub run by somebody malicious, or somebody who sits on the way.

A rule gets what was asked and a way to the real hub, and gives an answer: it may change either, ask the hub twice, or
not at all. The first rule of the list is the outermost one.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import urlsplit

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date", "server"})


@dataclass(frozen=True)
class Asked:
    """A request as it came. path: with its query. headers: names in lower case."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def to(self, method: str, beginning: str) -> bool:
        """True for a request of this method to such a path."""
        return self.method == method and self.path.startswith(beginning)


@dataclass(frozen=True)
class Told:
    """An answer. status 0 hangs up without a word. content: the whole, or blocks that need not end."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | Iterable[bytes] = b""

    @property
    def json(self) -> Any:
        assert isinstance(self.content, bytes)
        return json.loads(self.content)

    def but(self, value: object) -> Told:
        """The same with other JSON in it."""
        return replace(self, content=json.dumps(value).encode())


HANG_UP = Told(status=0)
Forward: TypeAlias = Callable[[Asked], Told]
Rule: TypeAlias = Callable[[Asked, Forward], Told]


class Liar:
    """`rules` may be changed at any time. seen: the newest requests that came, in order; `remembers` at most."""

    def __init__(self, hub: str, remembers: int | None = None) -> None:
        self._hub = urlsplit(hub).netloc
        self.url = ""
        self.rules: list[Rule] = []
        self.seen: deque[Asked] = deque(maxlen=remembers)

    def answer(self, asked: Asked) -> Told:
        self.seen.append(asked)
        return self._through(list(self.rules), asked)

    def _through(self, rules: list[Rule], asked: Asked) -> Told:
        if not rules:
            return self._forward(asked)
        return rules[0](asked, lambda changed: self._through(rules[1:], changed))

    def _forward(self, asked: Asked) -> Told:
        connection = http.client.HTTPConnection(self._hub, timeout=60)
        try:
            headers = {name: value for name, value in asked.headers.items() if name not in _HOP_BY_HOP}
            connection.request(asked.method, asked.path, asked.body or None, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
            return Told(answer.status, kept, answer.read())
        except (OSError, http.client.HTTPException):
            return HANG_UP
        finally:
            connection.close()


class Elsewhere:
    """Another machine that the site can reach, and that is no hub. It answers with `told`."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.url = ""
        self.seen: list[Asked] = []

    def answer(self, asked: Asked) -> Told:
        self.seen.append(asked)
        return self.told


@contextmanager
def liar_before(hub: str, *rules: Rule, remembers: int | None = None) -> Iterator[Liar]:
    """The proxy before a hub, at `url`. remembers: how many requests it keeps; all, if None."""
    liar = Liar(hub, remembers)
    liar.rules[:] = rules
    with _serving(liar.answer) as liar.url:
        yield liar


@contextmanager
def elsewhere(told: Told | None = None) -> Iterator[Elsewhere]:
    other = Elsewhere(told or Told())
    with _serving(other.answer) as other.url:
        yield other


@contextmanager
def _serving(answer: Callable[[Asked], Told]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            told = answer(Asked(self.command, self.path, headers, body))
            if told.status == 0:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            if isinstance(told.content, bytes):
                self.send_header("Content-Length", str(len(told.content)))
                self.end_headers()
                self.wfile.write(told.content)
                return
            self.close_connection = True
            self.end_headers()
            for block in told.content:
                self.wfile.write(block)

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = handle_one  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that hang up are what this is about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
