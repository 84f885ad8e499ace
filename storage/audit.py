"""Verifies the chains of events: nothing was changed, removed or put in between since it was written."""

from __future__ import annotations

from collections.abc import Iterator

from broker.protocol.chain import hash_of
from broker.protocol.records import Event
from storage.database import Database
from storage.tables import COLUMNS

_PAGE = 1000
_EVENTS = f"SELECT {', '.join(COLUMNS[Event])} FROM events"


def verify(database: Database) -> Iterator[str]:
    """One sentence for each break; none means that every stream is whole up to its head."""
    with database.connection():
        streams = database.all("SELECT id, kind, last_seq, last_hash FROM streams ORDER BY id")
        for stream_id, kind, last_seq, last_hash in streams:
            yield from _verify_stream(database, f"{kind} {stream_id}", stream_id, last_seq, last_hash)


def _verify_stream(database: Database, name: str, stream_id: str, last_seq: int, last_hash: str) -> Iterator[str]:
    previous, seq = "", 0
    while seq < last_seq:
        rows = database.all(f"{_EVENTS} WHERE stream_id = %s AND seq > %s ORDER BY seq LIMIT %s", stream_id, seq, _PAGE)
        if not rows:
            yield f"{name}: events {seq + 1} to {last_seq} are missing"
            return
        for event in (Event(*row) for row in rows):
            if event.seq != seq + 1:
                yield f"{name}: event {seq + 1} is missing"
            if event.hash != hash_of(event, previous):
                yield f"{name}: event {event.seq} was changed, or the one before it"
            previous, seq = event.hash, event.seq
    if previous != last_hash or seq != last_seq:
        yield f"{name}: its head says event {last_seq}, the events end at {seq} or differ from it"
