"""The connections of this very process, watched from outside of its server: who is too slow or too many is cut off.

Neither server ends a request whose body does not go on: granian reads bodies in the request's thread, and waits for as
long as the other side likes; waitress knows only connections on which nothing happens at all. So one thread looks at
all connections every few seconds. What the kernel counts for each (tcp(7), TCP_INFO) says enough:

- A request is under way if something came after the last bytes were sent.
- An answer lies unread if bytes are not acknowledged, or not even sent because the other side's window is shut.

Either may last for so long, and for as long again as the bytes that moved meanwhile take at the least rate. Who takes
longer is cut off on the side that is slow: the server's read ends, the app answers 408 or lets go of its place.
docs/adr/0015-shares.md says what else was tried.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import struct
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISSOCK
from typing import Literal, TypeAlias, get_args

from config.clock import Clock, wait_for
from config.logs import unit
from config.settings import Settings

log = logging.getLogger(__name__)

EVERY_S = 2.0
MANY = 1_000
"""Connections from which on looks are rarer: each costs some 20 microseconds a connection."""
OTHER_FILES = 512
"""Descriptors of the process that are no connections."""
GRAIN_S = 0.01
"""The kernel's clock for ages: 100 to 1,000 ticks a second."""
IDLE_S = 130.0
"""Longer than either server keeps a connection between requests."""
_OWN_FILES = Path("/proc/self/fd")
_INFO_BYTES = 192
_AGES = struct.Struct("=44xI4xI")
"""Milliseconds since bytes were sent last and since bytes came last, in struct tcp_info of Linux 4.6 and later."""
_MOVED = struct.Struct("=24xI92xQQ8xI8xI")
"""Segments not acknowledged, bytes acknowledged, bytes received, bytes not sent, segments sent that carried some."""

Peer: TypeAlias = tuple[str, int]
Cause: TypeAlias = Literal["slow_request", "unread_answer", "crowd"]
Phase: TypeAlias = Literal["request", "answer", "unclear"]


@dataclass(frozen=True)
class Seen:
    """One connection as the kernel sees it. Ages in seconds; answered: something was sent at least once."""

    peer: Peer
    sent_ago_s: float
    came_ago_s: float
    acknowledged_bytes: int
    received_bytes: int
    unread: bool
    answered: bool

    @property
    def phase(self) -> Phase | None:
        """What is under way; None between requests. Unclear: something came and something was sent in one tick, and
        which of them last the kernel does not say. Mostly that is an answer."""
        if self.unread:
            return "answer"
        if not self.answered:
            return "request" if self.received_bytes else None
        if abs(self.came_ago_s - self.sent_ago_s) <= GRAIN_S:
            return "unclear"
        return "request" if self.came_ago_s < self.sent_ago_s else None


@dataclass(frozen=True)
class Limits:
    """connections: in all; one address has half of them at most."""

    request_within_s: float
    unread_within_s: float
    least_rate_bytes: int
    connections: int


@dataclass(frozen=True)
class _Began:
    """When a phase was seen first, and what had moved then."""

    phase: Phase
    at: float
    moved_bytes: int


class Judge:
    """Decides what is to be cut off, from one look to the next. It touches no connection itself."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._began: dict[Peer, _Began] = {}

    def verdicts(self, seen: Collection[Seen], now: float) -> dict[Peer, Cause]:
        """now: seconds of a clock that never runs backwards."""
        began, found = {}, dict[Peer, Cause]()
        for one in seen:
            if one.phase is None:
                continue
            mine = self._beginning(one, now)
            began[one.peer] = mine
            if now - mine.at > self._allowed_s(one, mine):
                found[one.peer] = "unread_answer" if mine.phase == "answer" else "slow_request"
        self._began = began
        return found | self._crowds(seen, found)

    def _beginning(self, one: Seen, now: float) -> _Began:
        """A request that another followed at once begins anew: something was sent since."""
        assert one.phase is not None
        before = self._began.get(one.peer)
        sent_since = one.phase != "answer" and one.answered and before is not None and now - one.sent_ago_s > before.at
        if before is None or before.phase != one.phase or sent_since:
            return _Began(one.phase, now, _moved(one))
        return before

    def _allowed_s(self, one: Seen, began: _Began) -> float:
        limits = self._limits
        within_s = {
            "request": limits.request_within_s,
            "answer": limits.unread_within_s,
            "unclear": max(IDLE_S, limits.request_within_s),
        }[began.phase]
        return within_s + (_moved(one) - began.moved_bytes) / limits.least_rate_bytes

    def _crowds(self, seen: Collection[Seen], already: Collection[Peer]) -> dict[Peer, Cause]:
        """Connections of an address beyond its share: those on which nothing has come for longest."""
        share = self._limits.connections // 2
        if len(seen) <= share:
            return {}
        crowds = Counter(one.peer[0] for one in seen if one.peer not in already)
        found = dict[Peer, Cause]()
        for address, count in crowds.items():
            if count > share:
                mine = (one for one in seen if one.peer[0] == address and one.peer not in already)
                stillest = sorted(mine, key=lambda one: one.came_ago_s, reverse=True)
                found |= {one.peer: "crowd" for one in stillest[: count - share]}
        return found


def _moved(one: Seen) -> int:
    return one.acknowledged_bytes if one.phase == "answer" else one.received_bytes


def limits_of(settings: Settings, connections: int) -> Limits:
    """connections: how many there really can be."""
    return Limits(
        request_within_s=settings.request_within_s,
        unread_within_s=settings.unread_within_s,
        least_rate_bytes=settings.least_rate_bytes,
        connections=connections,
    )


class Connections:
    """Looks at the connections of this process to one port, in a thread of its own, until it is closed."""

    def __init__(self, limits: Limits, clock: Clock, every_s: float = EVERY_S) -> None:
        self._port = 0
        self._judge = Judge(limits)
        self._clock = clock
        self._every_s = every_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fedyard-connections", daemon=True)
        self.open = 0
        self.cut: dict[Cause, int] = dict.fromkeys(get_args(Cause), 0)

    def watch(self, port: int) -> None:
        """Begin with the connections to this port, where the process listens."""
        self._port = port
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Once."""
        held = list(_held(self._port))
        try:
            seen = [one for _, one in held]
            self.open = len(seen)
            verdicts = self._judge.verdicts(seen, self._clock.monotonic())
            for connection, one in held:
                if (cause := verdicts.get(one.peer)) is not None:
                    self._cut_off(connection, cause)
        finally:
            for connection, _ in held:
                connection.close()
        if verdicts:
            log.warning("connections cut off", extra=unit(count=len(verdicts), causes=sorted(set(verdicts.values()))))

    def _cut_off(self, connection: socket.socket, cause: Cause) -> None:
        """A slow sender can still be answered; who does not read cannot."""
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RD if cause == "slow_request" else socket.SHUT_RDWR)
            self.cut[cause] += 1

    def _run(self) -> None:
        while not wait_for(self._closing, self._every_s * max(1.0, self.open / MANY)):
            try:
                self.look()
            except Exception:  # a bug must not end the watch
                log.exception("a look at the connections failed")


def _held(port: int) -> Iterator[tuple[socket.socket, Seen]]:
    """A duplicate of each connection to `port` that this process has, to be closed, and what the kernel knows of it."""
    known = set[Peer]()
    for file in _OWN_FILES.iterdir():
        # A duplicate of an SQLite file must not be made here: closing it would drop the locks that this process has on
        # the file, and another process could take the log away from under it.
        try:
            if not S_ISSOCK(os.fstat(int(file.name)).st_mode):
                continue
            copy = os.dup(int(file.name))
        except OSError as error:
            if error.errno == errno.EMFILE:
                return
            continue  # closed meanwhile
        try:
            connection = socket.socket(fileno=copy)
        except OSError:  # a file since a moment ago: rather left open than closed
            continue
        found = _seen(connection, port)
        if found is None or found.peer in known:  # the list itself had a descriptor, which is another's by now
            connection.close()
            continue
        known.add(found.peer)
        yield connection, found


def _seen(connection: socket.socket, port: int) -> Seen | None:
    """None for what is no connection to `port`."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
        return None
    try:
        if connection.getsockname()[1] != port:
            return None
        host, peer_port = connection.getpeername()[:2]
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    except OSError:  # it listens, or is over
        return None
    sent_ms, came_ms = _AGES.unpack_from(info)
    unacknowledged, acknowledged, received, unsent, segments = _MOVED.unpack_from(info)
    return Seen(
        peer=(host, peer_port),
        sent_ago_s=sent_ms / 1000,
        came_ago_s=came_ms / 1000,
        acknowledged_bytes=acknowledged,
        received_bytes=received,
        unread=bool(unacknowledged or unsent),
        answered=segments > 0,
    )


def make_room(connections: int) -> int:
    """Raise the process's limit of open files as far as it may go; how many connections it then can have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(connections, soft - OTHER_FILES if soft > 2 * OTHER_FILES else soft // 2))
