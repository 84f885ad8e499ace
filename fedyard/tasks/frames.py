"""Frames between the agent and a hooks' process: four bytes of length, then the content, over a pair of sockets.

Nothing here waits for ever for the other side: a process that the hooks started may hold their end open long after
they are gone, and may have cut a frame in two. So both directions wait in slices, and ask in between whether to go on.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable

from fedyard.clock import SystemClock

LIMIT_BYTES = 536_870_912
LOOK_EVERY_S = 0.1
_LENGTH = 4
_BLOCK = 1_048_576


def _never() -> bool:
    return False


class Frames:
    """One end. `send` from any thread, `receive` from one."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._got = bytearray()
        self._sending = threading.Lock()
        self._clock = SystemClock()

    def close(self) -> None:
        self._socket.close()

    def send(self, content: bytes, give_up: Callable[[], bool] = _never) -> None:
        """Raises `OSError` if the other end is closed, or as soon as `give_up` says so: then the end is of no use."""
        if len(content) > LIMIT_BYTES:
            raise OSError(f"a frame of {len(content)} bytes; {LIMIT_BYTES} at most")
        with self._sending:
            left = memoryview(len(content).to_bytes(_LENGTH) + content)
            while left:
                try:
                    left = left[self._socket.send(left[:_BLOCK]) :]
                except BlockingIOError:
                    if not self._ready(select.POLLOUT, LOOK_EVERY_S) and give_up():
                        raise OSError("the other end takes nothing any more") from None

    def receive(self, wait_s: float) -> bytes | None:
        """The next frame, or None if it is not there whole within `wait_s`. Raises `EOFError` at the end, `OSError`."""
        end = self._clock.monotonic() + wait_s
        while (frame := self._whole()) is None:
            if not self._ready(select.POLLIN, max(0.0, end - self._clock.monotonic())):
                return None
            try:
                content = self._socket.recv(_BLOCK)
            except BlockingIOError:
                continue
            if not content:
                raise EOFError
            self._got += content
        return frame

    def _whole(self) -> bytes | None:
        if len(self._got) < _LENGTH:
            return None
        length = int.from_bytes(self._got[:_LENGTH])
        if length > LIMIT_BYTES:
            raise OSError(f"a frame of {length} bytes; {LIMIT_BYTES} at most")
        if len(self._got) < _LENGTH + length:
            return None
        frame = bytes(self._got[_LENGTH : _LENGTH + length])
        del self._got[: _LENGTH + length]
        return frame

    def _ready(self, what: int, wait_s: float) -> bool:
        if self._socket.fileno() < 0:
            raise OSError("this end is closed")
        poll = select.poll()
        poll.register(self._socket, what)
        return bool(poll.poll(wait_s * 1000))
