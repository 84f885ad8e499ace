"""Verifies the chains of events: nothing was changed, removed or put in between since it was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from domain.chain import hash_of
from domain.ids import Id
from domain.records import Event
from storage.database import Database, Row
from storage.tables import COLUMNS

_PAGE = 1000


class Head(Protocol):
    """The newest event of a stream, as somebody noted it."""

    @property
    def stream_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def hash(self) -> str: ...


_EVENTS = f"SELECT {', '.join(COLUMNS[Event])} FROM events"


def verify_against(database: Database, heads: Iterable[Head]) -> Iterator[str]:
    """One sentence for each stream that does not pass through a head that was noted before.

    A chain that is whole by itself may be a shorter one, or one that was computed anew: only who has kept a head can
    tell. A stream that has grown since is well.
    """
    with database.connection():
        for head in heads:
            there = database.one("SELECT hash FROM events WHERE stream_id = %s AND seq = %s", head.stream_id, head.seq)
            if there is None:
                end = database.one("SELECT last_seq FROM streams WHERE id = %s", head.stream_id)
                ends = "does not exist" if end is None else f"ends at event {end[0]}"
                yield f"{head.kind} {head.stream_id}: had event {head.seq} ({head.hash[:16]}), and now it {ends}"
            elif there[0] != head.hash:
                yield (
                    f"{head.kind} {head.stream_id}: event {head.seq} was {head.hash[:16]} and is {there[0][:16]} now: "
                    "its past was written anew"
                )


def verify(database: Database) -> Iterator[str]:
    """One sentence for each break; none means that every stream is whole up to its head. The hub may go on."""
    with database.connection():
        for stream_id, kind in database.all("SELECT id, kind FROM streams ORDER BY id"):
            yield from _verify_stream(database, f"{kind} {stream_id}", stream_id)


class Place(NamedTuple):
    """How far a walk has come: behind event `seq` of this stream, the streams before it by id behind it."""

    stream_id: Id
    seq: int


class Verified(NamedTuple):
    """Of a part of a walk. streams: that it came to the end of. faults: one sentence each. next: where it goes on."""

    streams: int
    events: int
    faults: list[str]
    next: Place | None


def verify_part(database: Database, after: Place | None, limit: int) -> Verified:
    """As `verify`, of so many events; the rest by another call with `next`. What changes meanwhile does no harm."""
    streams = events = 0
    faults: list[str] = []
    with database.connection():
        place = after or _next_stream(database, None)
        while place is not None and events < limit:
            found = _page(database, place.stream_id, place.seq, min(_PAGE, limit - events))
            if not found:
                faults += _faults_of_head(database, place)
                streams += 1
                place = _next_stream(database, place.stream_id)
                continue
            previous = _hash_at(database, place)
            for event in (Event(*row) for row in found):
                if event.seq != place.seq + 1:
                    faults.append(f"stream {place.stream_id}: event {place.seq + 1} is missing")
                if event.hash != hash_of(event, previous):
                    faults.append(f"stream {place.stream_id}: event {event.seq} was changed, or the one before it")
                previous, place = event.hash, Place(place.stream_id, event.seq)
            events += len(found)
    return Verified(streams, events, faults, place)


def _next_stream(database: Database, behind: Id | None) -> Place | None:
    first = "SELECT id FROM streams ORDER BY id LIMIT 1"
    further = "SELECT id FROM streams WHERE id > %s ORDER BY id LIMIT 1"
    found = database.one(first) if behind is None else database.one(further, behind)
    return None if found is None else Place(found[0], 0)


def _hash_at(database: Database, place: Place) -> str:
    there = "SELECT hash FROM events WHERE stream_id = %s AND seq = %s"
    found = database.one(there, place.stream_id, place.seq) if place.seq else None
    return "" if found is None else str(found[0])


def _faults_of_head(database: Database, place: Place) -> list[str]:
    """Of a stream whose last event is that of the place."""
    head = database.one("SELECT last_seq, last_hash FROM streams WHERE id = %s", place.stream_id)
    if head is None or _page(database, place.stream_id, place.seq, 1):  # it has grown since
        return []
    last_seq, last_hash = head
    if last_seq > place.seq:
        return [f"stream {place.stream_id}: events {place.seq + 1} to {last_seq} are missing"]
    if (last_seq, last_hash) != (place.seq, _hash_at(database, place)):
        said = f"its head says event {last_seq}, the events end at {place.seq} or differ from it"
        return [f"stream {place.stream_id}: {said}"]
    return []


def _verify_stream(database: Database, name: str, stream_id: str) -> Iterator[str]:
    previous, seq = "", 0
    while True:
        while rows := _page(database, stream_id, seq):
            for event in (Event(*row) for row in rows):
                if event.seq != seq + 1:
                    yield f"{name}: event {seq + 1} is missing"
                if event.hash != hash_of(event, previous):
                    yield f"{name}: event {event.seq} was changed, or the one before it"
                previous, seq = event.hash, event.seq
        head = database.one("SELECT last_seq, last_hash FROM streams WHERE id = %s", stream_id)
        assert head is not None
        last_seq, last_hash = head
        if last_seq <= seq:
            break
        if not _page(database, stream_id, seq):  # else it has grown between the two reads
            yield f"{name}: events {seq + 1} to {last_seq} are missing"
            return
    if (last_seq, last_hash) != (seq, previous):
        yield f"{name}: its head says event {last_seq}, the events end at {seq} or differ from it"


def _page(database: Database, stream_id: str, after: int, limit: int = _PAGE) -> list[Row]:
    return database.all(f"{_EVENTS} WHERE stream_id = %s AND seq > %s ORDER BY seq LIMIT %s", stream_id, after, limit)
