"""One site's token in the hands of somebody greedy: writes without a pause, polls that hang up, bodies that never end.

All of it on loopback, for a while, by a bounded number of threads. Others must not notice: the load beside it goes on,
and the books must be whole.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

WRITERS = 12
POLLERS = 4
SLOW_BODIES = 60
_TIMEOUT_S = 5.0


@dataclass
class Flood:
    """hub: its address. Every request is one that the token may make."""

    hub: str
    site_id: str
    token: str
    answered: dict[int, int] = field(default_factory=dict)
    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _open: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        self._ending.clear()
        for _ in range(SLOW_BODIES):
            with suppress(OSError):
                self._open.append(self._begun("POST", "/v1/messages", 100_000, b"{"))
        bodies = [self._write] * WRITERS + [self._hang_up] * POLLERS
        self._threads = [threading.Thread(target=body, name="flood", daemon=True) for body in bodies]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(2 * _TIMEOUT_S)
        for connection in self._open:
            connection.close()
        self._open.clear()

    def _write(self) -> None:
        number = 0
        while not self._ending.is_set():
            number += 1
            body = b'{"description": "number %d"}' % number
            with suppress(OSError), self._begun("PATCH", f"/v1/sites/{self.site_id}", len(body), body) as connection:
                self._count(connection.recv(64))

    def _hang_up(self) -> None:
        while not self._ending.is_set():
            with suppress(OSError):
                self._begun("GET", "/v1/inbox?wait=30", 0, b"").close()

    def _begun(self, method: str, path: str, length: int, body: bytes) -> socket.socket:
        """A request that is sent as far as `body` goes."""
        parts = urlsplit(self.hub)
        connection = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_TIMEOUT_S)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        return connection

    def _count(self, answer: bytes) -> None:
        status = int(answer[9:12]) if answer[9:12].isdigit() else 0
        with self._lock:
            self.answered[status] = self.answered.get(status, 0) + 1
