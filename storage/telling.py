"""Which events have not been told to others yet, and how far each project's were: a cursor for each stream.

A cursor moves when what is before it is written where it was told to, by whoever told it and in no decision: telling
holds up nobody who decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from domain.ids import Id
from domain.records import Event
from domain.values import Micros
from storage.database import Database
from storage.leadership import lead, step_down
from storage.tables import select

STREAMS_AT_ONCE = 50
EVENTS_AT_ONCE = 100
"""Of one stream, so that a long one holds up none."""
_LEADER = 4_207_418
_WAITING = (
    "SELECT streams.id, coalesce(event_tellings.seq, 0) FROM streams"
    " LEFT JOIN event_tellings ON event_tellings.stream_id = streams.id"
    " WHERE streams.kind = 'project' AND streams.last_seq > coalesce(event_tellings.seq, 0)"
    " AND streams.id > %s ORDER BY streams.id LIMIT %s"
)
_EVENTS = f"{select(Event)} WHERE stream_id = %s AND seq > %s ORDER BY seq LIMIT %s"
_TOLD = (
    "INSERT INTO event_tellings (stream_id, seq) VALUES {rows}"
    " ON CONFLICT (stream_id) DO UPDATE SET seq = EXCLUDED.seq WHERE event_tellings.seq < EXCLUDED.seq"
)
_FIRST = "00000000-0000-0000-0000-000000000000"


_BACKLOG = (
    "SELECT coalesce(sum(streams.last_seq - coalesce(event_tellings.seq, 0)), 0), min(events.at) FROM streams"
    " LEFT JOIN event_tellings ON event_tellings.stream_id = streams.id"
    " LEFT JOIN events ON events.stream_id = streams.id AND events.seq = coalesce(event_tellings.seq, 0) + 1"
    " WHERE streams.kind = 'project' AND streams.last_seq > coalesce(event_tellings.seq, 0)"
)


class Backlog(NamedTuple):
    """How many events of projects lie behind the cursors, and when the oldest of them happened."""

    events: int
    oldest_at: Micros | None


def backlog(database: Database) -> Backlog:
    """Raises `DatabaseUnavailable`."""
    with database.connection():
        ((events, oldest_at),) = database.all(_BACKLOG)
    return Backlog(int(events), oldest_at)


class Stretch(NamedTuple):
    """Events of a stream that follow one another, the next ones to be told."""

    stream_id: Id
    events: list[Event]


class Tellings:
    """For the thread that tells, on a connection that it keeps: leadership hangs on it. Calls raise
    `DatabaseUnavailable`."""

    def __init__(
        self, database: Database, streams_at_once: int = STREAMS_AT_ONCE, events_at_once: int = EVENTS_AT_ONCE
    ) -> None:
        """events_at_once: of one stream."""
        self._database = database
        self._streams_at_once = streams_at_once
        self._events_at_once = events_at_once
        self._last = _FIRST

    def lead(self) -> bool:
        """True if this process may tell."""
        return lead(self._database, _LEADER)

    def step_down(self) -> None:
        """Give up the connection, and with it the leadership."""
        step_down(self._database)

    def waiting(self) -> list[Stretch]:
        """Of the next streams that have any, in turn."""
        found = self._database.all(_WAITING, self._last, self._streams_at_once)
        if not found and self._last != _FIRST:
            found = self._database.all(_WAITING, _FIRST, self._streams_at_once)
        self._last = str(found[-1][0]) if len(found) == self._streams_at_once else _FIRST
        return [Stretch(stream, self._events(stream, told)) for stream, told in found]

    def _events(self, stream: Id, told: int) -> list[Event]:
        return [Event(*row) for row in self._database.all(_EVENTS, stream, told, self._events_at_once)]

    def told(self, cursors: Mapping[Id, int]) -> None:
        """These streams were told up to there. A cursor only moves forward."""
        if cursors:
            values = [value for stream, seq in sorted(cursors.items()) for value in (stream, seq)]
            self._database.execute(_TOLD.format(rows=", ".join(["(%s, %s)"] * len(cursors))), values)
