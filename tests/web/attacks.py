"""What one caller, or somebody without a token, may try so that others are not served.

Each attack holds what it can for the block, on loopback, and counts what came of it.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

FROM = "127.0.0.2"
"""The attacker's address: others have another."""
WITHIN_S = 15.0
"""Who is not answered for so long is not served. Far above what anything here takes."""


@dataclass
class Held:
    """The connections of an attack."""

    connections: list[socket.socket] = field(default_factory=list)

    def ended(self) -> list[bytes]:
        """What those were told that the hub has ended: the beginning of an answer, or nothing."""
        poll = select.poll()
        for one in self.connections:
            poll.register(one, select.POLLIN | select.POLLHUP)
        told = []
        for number, _ in poll.poll(0):
            try:
                told.append(_peek(number))
            except OSError:
                told.append(b"")
        return told

    def statuses(self) -> Counter[str]:
        """Status codes of those answers; an end without one counts as `cut`."""
        return Counter(answer[9:12].decode() if answer.startswith(b"HTTP") else "cut" for answer in self.ended())


def _peek(number: int) -> bytes:
    copy = socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM)
    with copy:
        copy.setblocking(False)
        try:
            return copy.recv(64, socket.MSG_PEEK)
        except BlockingIOError:
            return b""


@contextmanager
def _connections(port: int, contents: Sequence[bytes], receive_bytes: int | None = None) -> Iterator[Held]:
    """One connection for each content, which is sent, and nothing read."""
    with ExitStack() as stack:
        held = Held()
        for content in contents:
            connection = stack.enter_context(socket.socket())
            connection.settimeout(WITHIN_S)
            if receive_bytes is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            try:
                connection.bind((FROM, 0))
                connection.connect(("127.0.0.1", port))
                connection.sendall(content)
            except OSError:  # the hub takes no more of us
                continue
            held.connections.append(connection)
        yield held


def _head(method: str, path: str, token: str | None, *more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: hub", *more]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@contextmanager
def half_sent_bodies(port: int, token: str | None, count: int, path: str = "/v1/messages") -> Iterator[Held]:
    """Bodies of which one byte comes."""
    content = _head("POST", path, token, "Content-Type: application/json", "Content-Length: 100000") + b"{"
    with _connections(port, [content] * count) as held:
        yield held


@contextmanager
def half_sent_forms(port: int, cookie: str | None, count: int) -> Iterator[Held]:
    """Forms of which one byte comes: in a session, or of somebody who would open one."""
    path, more = ("/page/sign-in", []) if cookie is None else ("/page/organisations/new", [f"Cookie: {cookie}"])
    kind = "Content-Type: application/x-www-form-urlencoded"
    content = _head("POST", path, None, kind, "Content-Length: 100000", *more) + b"t"
    with _connections(port, [content] * count) as held:
        yield held


@contextmanager
def half_open(port: int, count: int) -> Iterator[Held]:
    """Requests whose headers do not end."""
    with _connections(port, [b"GET /healthz HTTP/1.1\r\nHost: hub\r\nX: "] * count) as held:
        yield held


@contextmanager
def polls(port: int, token: str, after: int, count: int, *, hang_up: bool) -> Iterator[Held]:
    """Long polls behind the newest entry, which stay or are left at once."""
    with _connections(port, [_head("GET", f"/v1/inbox?after={after}&wait=30", token)] * count) as held:
        if hang_up:
            for connection in held.connections:
                connection.close()
        yield held


@contextmanager
def unread_downloads(port: int, token: str, path: str, count: int) -> Iterator[Held]:
    """Reads of an artifact of which nothing is taken."""
    with _connections(port, [_head("GET", path, token)] * count, receive_bytes=4096) as held:
        yield held


@contextmanager
def flood(port: int, token: str, body: Any, path: str, threads: int = 4) -> Iterator[Counter[int]]:
    """Writes without a pause and without waiting for decisions, for the block; their statuses, 0 for none."""
    statuses: Counter[int] = Counter()
    over = threading.Event()
    content = json.dumps(body)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def write() -> None:
        while not over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
            try:  # for as many as the hub answers on one connection: who is refused unread is hung up on
                while not over.is_set():
                    connection.request("POST", path, content, headers)
                    answer = connection.getresponse()
                    answer.read()
                    statuses[answer.status] += 1
            except (OSError, http.client.HTTPException):
                statuses[0] += 1
            finally:
                connection.close()

    crowd = [threading.Thread(target=write) for _ in range(threads)]
    for one in crowd:
        one.start()
    try:
        yield statuses
    finally:
        over.set()
        for one in crowd:
            one.join()
