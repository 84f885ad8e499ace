"""Nudges: the web asks itself until it is answered, so that granian has a thread for whoever waits for one."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from config.clock import SystemClock
from domain.values import Subject
from storage.signals import Announcement, Tip
from tests.waiting import until
from web.live.transfers import Transfers
from web.live.waiters import Waiters
from web.serving.nudges import MAX_NUDGES, PATIENCE_S, Nudges

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SITE = "7c6ab1c9-6f0c-5bd6-9d4e-5c1a3e0a2f11"


class Server:
    """Answers the request with number `from_` and those after it. asked: how many came."""

    def __init__(self, from_: int) -> None:
        self._from = from_
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[bytes] = []
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self.asked.append(connection.recv(1000))
            if len(self.asked) >= self._from:
                connection.sendall(ANSWER)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


@pytest.fixture
def serving() -> Iterator[Callable[[int], Server]]:
    servers: list[Server] = []

    def serve(from_: int) -> Server:
        servers.append(Server(from_))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def nudges(port: int, patience_s: float = PATIENCE_S) -> Nudges:
    """Busy machines answer late: where asking twice shall mean something, it needs patience."""
    return Nudges("0.0.0.0", port, patience_s)  # noqa: S104 - where a hub may listen; loopback is asked


@pytest.mark.parametrize("from_", [1, 4])
def test_it_asks_until_it_is_answered(serving: Callable[[int], Server], from_: int) -> None:
    server = serving(from_)
    assert nudges(server.port, 0.5).nudge() >= from_
    assert all(request.startswith(b"GET /healthz HTTP/1.1\r\n") for request in server.asked)


def test_it_gives_up_where_every_thread_is_taken(serving: Callable[[int], Server]) -> None:
    server = serving(MAX_NUDGES + 1)
    assert nudges(server.port).nudge() == 0
    until(lambda: len(server.asked) == MAX_NUDGES)


def test_a_server_that_does_not_listen_yet_is_no_trouble() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert nudges(port).nudge() == 0


def test_it_works_beyond_a_thousand_open_files(serving: Callable[[int], Server]) -> None:
    server = serving(1)
    with many_files():
        assert nudges(server.port, 5.0).nudge() == 1


@contextmanager
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    files = [socket.socket() for _ in range(1100)]
    try:
        yield
    finally:
        for file in files:
            file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_those_who_begin_to_wait_together_share_one(serving: Callable[[int], Server]) -> None:
    server = serving(1)
    nudging = nudges(server.port, 5.0)
    nudging.start()
    try:
        for _ in range(100):
            nudging.soon()
        until(lambda: server.asked)
        nudging.soon()
        until(lambda: len(server.asked) >= 2)
    finally:
        nudging.close()
    assert len(server.asked) < 10


def test_it_ends_while_it_asks(serving: Callable[[int], Server]) -> None:
    server = serving(MAX_NUDGES + 1)
    nudging = nudges(server.port)
    nudging.start()
    nudging.soon()
    until(lambda: server.asked)
    nudging.close()


def test_who_waits_and_who_transfers_holds_a_thread() -> None:
    held: list[str] = []
    waiting = Waiters(4, SystemClock(), lambda: held.append("waits"))
    assert waiting.until(("inbox", SITE), 10, lambda: "at once") == "at once"
    assert held == []
    with waiting.place(("inbox", SITE)) as place:
        waiting.heard(Announcement(inboxes={SITE: Tip(1)}))
        waiting.sleep(place, 10)
    with Transfers(4, lambda: held.append("transfers")).place("in", Subject(kind="site", id=SITE)):
        pass
    assert held == ["waits", "transfers"]
