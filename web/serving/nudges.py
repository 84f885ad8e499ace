"""Requests to ourselves that make granian start a thread where it has forgotten one.

granian 2.8.9 starts threads as requests queue up, one at most for each that comes. When many come at once it now and
then starts one too few: a request is left in the queue until a thread is free again, and with long polls that takes
half a minute; whatever comes next only takes its place (seen with 1,000 polls, one time in thirty). So whenever a
request begins to hold its thread for long, a moment later the hub asks itself for /healthz, again and again until it is
answered. The queue is served in its order: then everything that had come before was taken as well.
"""

from __future__ import annotations

import select
import socket
import threading

AFTER_S = 0.05
"""Requests that begin to wait within this time share a nudge."""
PATIENCE_S = 0.02
"""A thread is started and answers within this; else it is asked once more."""
MAX_NUDGES = 16
"""So often; if none is answered then all threads that there may be are taken, and nothing helps but time."""
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Nudges:
    """host, port: where this very server listens, on all interfaces or one. patience_s: before it asks once more."""

    def __init__(self, host: str, port: int, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._address = ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104 - compared, not bound
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fedyard-nudges", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._wanted.set()
        self._thread.join()

    def soon(self) -> None:
        """A request holds its thread from now on."""
        if not self._wanted.is_set():
            self._wanted.set()

    def nudge(self) -> int:
        """How many requests it took until one was answered; 0 if none was."""
        asked: list[socket.socket] = []
        heard = select.poll()
        try:
            while len(asked) < MAX_NUDGES and not self._closing.is_set():
                connection = socket.create_connection(self._address, timeout=1)
                asked.append(connection)
                connection.sendall(_REQUEST)
                heard.register(connection, select.POLLIN)
                if heard.poll(1000 * self._patience_s):
                    return len(asked)
        except OSError:  # it does not listen yet, or no more
            pass
        finally:
            for connection in asked:
                connection.close()
        return 0

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wanted.wait()
            self._closing.wait(AFTER_S)
            self._wanted.clear()  # before the look at `closing`, which is set before this is
            self.nudge()
