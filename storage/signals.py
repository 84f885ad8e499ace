"""How the web hears of decisions: one announcement for each batch, after its commit.

PostgreSQL: NOTIFY and one LISTEN thread for each web process. Embedded: a direct call.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec
import psycopg2

from domain.ids import Id


class Decided(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of a command that somebody waits for. decided_at: when its deciding began, microseconds."""

    id: Id
    state: str
    status: int
    answer_json: str
    digest: str
    decided_at: int = 0


class Tip(NamedTuple):
    """The newest entry of an inbox: its number, and its mark in the chain of the mailbox."""

    seq: int
    mark: str = ""


class Announcement(msgspec.Struct, frozen=True):
    """decided: outcomes waited for. inboxes: site -> its newest entry. runs: run -> its version. logs: run -> last
    place; workload -> bytes of its log, where somebody follows it, or 0 where that has ended.

    tokens: tokens, accounts or sites lost rights, so caches of tokens are void. history: it became another one, so
    whatever is remembered is void. workloads: one of the hub's is wanted otherwise, or was seen otherwise.
    """

    decided: list[Decided] = []
    inboxes: dict[Id, Tip] = {}
    runs: dict[Id, int] = {}
    logs: dict[Id, int] = {}
    tokens: bool = False
    history: bool = False
    workloads: bool = False


class Signals(Protocol):
    """A source of announcements."""

    def subscribe(self, heard: Callable[[Announcement], None], reset: Callable[[], None]) -> None:
        """`heard` is called for each announcement, from one thread; `reset` after a gap in which some may be lost."""

    def ready(self) -> str | None:
        """None, or one sentence on what is wrong."""

    def close(self) -> None:
        """Stop listening."""


CHANNEL = "fedyard"
NOT_YET = "not yet listening"
"""The trouble of who has just begun."""
QUIET_MS = 5_000
"""After so much silence the connection is asked whether it still lives: a dead one is silent, too."""
_PAYLOAD_BYTES = 7_000
"""NOTIFY carries less than 8,000 bytes; an announcement is split, an answer too long is left for a read."""


def payloads(announcement: Announcement) -> list[str]:
    """The announcement as NOTIFY payloads; none if there is nothing to tell."""
    parts = [Announcement(decided=[_short(one)]) for one in announcement.decided]
    parts += [Announcement(inboxes={site: tip}) for site, tip in announcement.inboxes.items()]
    parts += [Announcement(runs={run: version}) for run, version in announcement.runs.items()]
    parts += [Announcement(logs={run: place}) for run, place in announcement.logs.items()]
    parts += [Announcement(tokens=True)] if announcement.tokens else []
    parts += [Announcement(history=True)] if announcement.history else []
    parts += [Announcement(workloads=True)] if announcement.workloads else []
    packed: list[str] = []
    waiting: list[Announcement] = []
    size = 0
    for part in parts:
        length = len(msgspec.json.encode(part))
        if waiting and size + length > _PAYLOAD_BYTES:
            packed.append(_joined(waiting))
            waiting, size = [], 0
        waiting.append(part)
        size += length
    return [*packed, _joined(waiting)] if waiting else packed


def _short(one: Decided) -> Decided:
    """Without its answer where that alone would not fit; the listener then reads it from the store."""
    return one if len(one.answer_json) < _PAYLOAD_BYTES // 2 else msgspec.structs.replace(one, answer_json="")


def _joined(parts: list[Announcement]) -> str:
    whole = Announcement(
        decided=[one for part in parts for one in part.decided],
        inboxes={site: tip for part in parts for site, tip in part.inboxes.items()},
        runs={run: version for part in parts for run, version in part.runs.items()},
        logs={run: place for part in parts for run, place in part.logs.items()},
        tokens=any(part.tokens for part in parts),
        history=any(part.history for part in parts),
        workloads=any(part.workloads for part in parts),
    )
    return msgspec.json.encode(whole).decode()


class DirectSignals:
    """Within one process: the store calls `announce` after each commit."""

    def __init__(self) -> None:
        self._hear: list[Callable[[Announcement], None]] = []

    def subscribe(self, heard: Callable[[Announcement], None], reset: Callable[[], None]) -> None:  # noqa: ARG002 - the port
        """There are no gaps within a process, so `reset` is never called."""
        self._hear.append(heard)

    def announce(self, announcement: Announcement) -> None:
        """Called by the deciding thread; returns when every subscriber has been told."""
        for hear in self._hear:
            hear(announcement)

    def ready(self) -> str | None:
        return None

    def close(self) -> None:
        self._hear.clear()


class PostgresSignals:
    """One LISTEN connection and one thread; reconnects by itself and then calls `reset`."""

    def __init__(self, url: str, *, retry_s: float = 0.5) -> None:
        self._url = url
        self._retry_s = retry_s
        self._subscribers: list[tuple[Callable[[Announcement], None], Callable[[], None]]] = []
        self._stopping = threading.Event()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        self._trouble: str | None = NOT_YET
        self._thread = threading.Thread(target=self._run, name="fedyard-listen", daemon=True)

    def subscribe(self, heard: Callable[[Announcement], None], reset: Callable[[], None]) -> None:
        self._subscribers.append((heard, reset))
        if not self._thread.is_alive():
            self._thread.start()

    def ready(self) -> str | None:
        return self._trouble

    def close(self) -> None:
        """Returns when the thread has ended; one that connects just now may take longer, and is left to itself."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        os.eventfd_write(self._bell, 1)
        if self._thread.is_alive():
            self._thread.join(timeout=3)
        if not self._thread.is_alive():
            os.close(self._bell)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except psycopg2.Error as error:
                said = (str(error).strip().splitlines() or [type(error).__name__])[0]
                self._trouble = f"the database does not announce decisions: {said[:200]}"
                self._stopping.wait(self._retry_s)

    def _listen(self) -> None:
        connection = psycopg2.connect(
            self._url,
            connect_timeout=3,
            application_name="fedyard listen",
            keepalives_idle=10,
            keepalives_interval=5,
            tcp_user_timeout=10_000,
        )
        try:
            connection.autocommit = True
            connection.cursor().execute(f"LISTEN {CHANNEL}")
            self._trouble = None
            for _, reset in self._subscribers:
                reset()
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            poll.register(self._bell, select.POLLIN)
            while not self._stopping.is_set():
                if poll.poll(QUIET_MS):
                    connection.poll()
                else:
                    connection.cursor().execute("SELECT 1")
                notes, connection.notifies[:] = list(connection.notifies), []
                for note in notes:
                    self._tell(note.payload)
        finally:
            connection.close()

    def _tell(self, payload: str) -> None:
        announcement = msgspec.json.decode(payload, type=Announcement)
        for heard, _ in self._subscribers:
            heard(announcement)
