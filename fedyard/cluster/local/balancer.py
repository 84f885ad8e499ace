"""One address for a service's replicas: a connection to it goes to one that is ready, each in turn."""

from __future__ import annotations

import errno
import select
import socket
from contextlib import suppress

MAX_CONNECTIONS = 256
"""At a time; who comes then waits until one ends."""
MAX_BUFFER_BYTES = 65_536
ACCEPTS = 16


class _Side:
    """One of the two sockets of a connection. out: what is to be sent to it. ended: nothing more comes from it."""

    def __init__(self, one: socket.socket, *, tries: int = 0) -> None:
        self.socket = one
        self.fd = one.fileno()
        self.peer: _Side = self
        self.out = bytearray()
        self.ended = self.shut = False
        self.tries = tries
        """Of a connection to a replica that is not made yet: so many others may be asked."""
        self.connecting = tries > 0


class Balancer:
    """On a port of its own of 127.0.0.1, or where it is told. `targets`: the ports of the replicas that are ready."""

    def __init__(self, poll: select.poll, host: str = "127.0.0.1", port: int = 0) -> None:
        self.targets: list[int] = []
        self._poll = poll
        self._next = 0
        self._sides: dict[int, _Side] = {}
        self._server = socket.create_server((host, port))
        self._server.setblocking(False)
        self._poll.register(self._server, select.POLLIN)
        self.address = f"{host}:{self._server.getsockname()[1]}"

    def handle(self, descriptor: int, events: int) -> None:
        """What poll said of a descriptor; of those that are not its own nothing happens."""
        if descriptor == self._server.fileno():
            for _ in range(ACCEPTS):
                if len(self._sides) >= 2 * MAX_CONNECTIONS or not self._accept():
                    break
            return
        side = self._sides.get(descriptor)
        if side is None:
            return
        try:
            if side.connecting:
                if not self._is_connected(side):
                    return
            elif events & ~select.POLLOUT:
                self._receive(side)
            both = (side, side.peer)
            for one in both:
                self._send(one)
            for one in both:  # what was sent makes room for what the other may say
                self._watch(one)
        except OSError:
            self._close(side)
            return
        if side.ended and side.peer.ended and not side.out and not side.peer.out:
            self._close(side)

    def _accept(self) -> bool:
        """False: nobody waits. Without a replica that can be reached the connection is ended at once."""
        try:
            ours, _ = self._server.accept()
        except OSError:
            return False
        ours.setblocking(False)
        replica = None
        with suppress(OSError):  # no descriptor is left
            replica = self._connected(len(self.targets))
        if replica is None:
            ours.close()
            return True
        client = _Side(ours)
        client.peer, replica.peer = replica, client
        self._sides[client.fd] = client
        self._watch(client)
        if len(self._sides) >= 2 * MAX_CONNECTIONS:
            self._poll.unregister(self._server)
        return True

    def _connected(self, tries: int) -> _Side | None:
        """A connection to the next replica, on its way; None if none of so many can be reached."""
        for left in range(tries, 0, -1):
            if not self.targets:
                break
            self._next = (self._next + 1) % len(self.targets)
            one = socket.socket()
            one.setblocking(False)
            if one.connect_ex(("127.0.0.1", self.targets[self._next])) in (0, errno.EINPROGRESS):
                side = _Side(one, tries=left)
                self._sides[side.fd] = side
                self._poll.register(side.fd, select.POLLOUT)
                return side
            one.close()
        return None

    def _is_connected(self, side: _Side) -> bool:
        """Whether it is; if it cannot be another replica is tried, or the client sent away."""
        if not side.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            with suppress(OSError):
                side.socket.getpeername()
                side.connecting = False
            return not side.connecting
        client = side.peer
        replica = self._connected(side.tries - 1)
        if replica is None:
            self._close(side)
            return False
        client.peer, replica.peer, replica.out = replica, client, side.out
        self._forget(side)
        return False

    def _receive(self, side: _Side) -> None:
        if side.ended or len(side.peer.out) >= MAX_BUFFER_BYTES:
            return
        with suppress(BlockingIOError):
            came = side.socket.recv(MAX_BUFFER_BYTES)
            side.peer.out += came
            side.ended = not came

    def _send(self, side: _Side) -> None:
        """What there is to send, as far as it goes, and then that no more comes."""
        if side.connecting:
            return
        with suppress(BlockingIOError):
            while side.out:
                del side.out[: side.socket.send(side.out)]
        if side.peer.ended and not side.out and not side.shut:
            side.shut = True
            side.socket.shutdown(socket.SHUT_WR)

    def _watch(self, side: _Side) -> None:
        """Nothing to look for: not among what is polled, where an end would be told again and again."""
        mask = select.POLLOUT if side.out or side.connecting else 0
        if not side.ended and not side.connecting and len(side.peer.out) < MAX_BUFFER_BYTES:
            mask |= select.POLLIN
        if mask:
            self._poll.register(side.fd, mask)
        else:
            with suppress(KeyError):
                self._poll.unregister(side.fd)

    def _close(self, side: _Side) -> None:
        for one in (side, side.peer):
            self._forget(one)
        with suppress(OSError):
            self._poll.register(self._server, select.POLLIN)

    def _forget(self, side: _Side) -> None:
        if self._sides.pop(side.fd, None) is not None:
            with suppress(KeyError):
                self._poll.unregister(side.fd)
            side.socket.close()
