"""A TCP proxy that can turn silent: the network's ways to fail without saying so."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Forwards to `port` on this machine. mode: ok, silent (takes connections and bytes, passes nothing on)."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.mode = "ok"
        self.accepted = 0
        self._open = True
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def drop(self) -> None:
        """Cut every connection."""
        for each in self._sockets:
            _end(each)
        self._sockets.clear()

    def close(self) -> None:
        self._open = False
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket.create_connection(("127.0.0.1", self.target))
            self._sockets += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while chunk := source.recv(65536):
                if self.mode == "ok":
                    sink.sendall(chunk)
        except OSError:
            pass
        finally:
            _end(source)
            _end(sink)


def _end(each: socket.socket) -> None:
    """Closing alone would not wake the thread that reads from it."""
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
