"""A link on loopback that is cut whenever so many bytes have gone over it."""

from __future__ import annotations

import contextlib
import socket
import threading

BUFFER = 65_536


class CuttingLink:
    """Forwards to `port`. Every `every_bytes` from the client all connections end, `times` at most.

    passed_bytes: what came from the client. Small buffers, so that it is close to what the client has sent.
    """

    def __init__(self, port: int, *, every_bytes: int, times: int, back: bool = False) -> None:
        """back: count and cut what comes from the server instead."""
        self.passed_bytes = 0
        self.cuts = 0
        self._target, self._every, self._times, self._back = port, every_bytes, times, back
        self._next = every_bytes
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        _end(self._listener)
        self._cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _end(client)
                continue
            with self._lock:
                self._sockets |= {client, server}
            for source, sink, counts in ((client, server, not self._back), (server, client, self._back)):
                threading.Thread(target=self._forward, args=(source, sink, counts), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BUFFER):
                if counts:
                    self._count(len(block))
                sink.sendall(block)
        _end(source)
        _end(sink)

    def _count(self, count: int) -> None:
        with self._lock:
            self.passed_bytes += count
            due = self.passed_bytes >= self._next and self.cuts < self._times
            if due:
                self.cuts += 1
                self._next = self.passed_bytes + self._every
        if due:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            everyone, self._sockets = self._sockets, set()
        for each in everyone:
            _end(each)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
