"""How the hub does: samples, of which curves are drawn, and readings, of which the newest one counts.

Whoever knows a thing writes it: a decider what it has decided and how long that had waited, the relay's process how old
the outbox is, what lies in the queues, and how much room the disks have, a backup that it was made. All of it is told
every few seconds by a thread that decides nothing, in one statement. It is no history: samples of a day are kept, and a
lost one is a gap in a curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar

import msgspec

from domain.values import Micros
from fedyard.wire.times import SECOND
from storage.database import Database

T = TypeVar("T", bound=msgspec.Struct)

SAMPLE_EVERY_S = 10.0
KEEP_SAMPLES: Micros = 24 * 3600 * SECOND


class Sampled(StrEnum):
    """What there are samples of; of each the value of one process, over the ten seconds before."""

    DECIDED = "decided"
    """Commands that were decided."""
    WAIT_P50 = "wait_p50_s"
    """From when a command was asked for to the start of its deciding, in seconds: half of them waited no longer."""
    WAIT_P99 = "wait_p99_s"
    OUTBOX_AGE = "outbox_age_s"
    """Of the oldest follow-up that is not published, in seconds; 0 if there is none."""


class Point(NamedTuple):
    """at: when the stretch ends that it is of."""

    at: Micros
    value: float


class QueueReading(msgspec.Struct, frozen=True):
    """ready: commands that wait; delayed: those that wait to be tried again; dead: dead letters.

    oldest_at: since when the oldest ready one waits, where the broker says so. empty_at: when there was none last.
    """

    ready: int
    delayed: int
    dead: int
    oldest_at: Micros | None
    empty_at: Micros | None


class TakenReading(msgspec.Struct, frozen=True):
    """asked_at: when the newest command was asked for that was taken from a queue."""

    asked_at: Micros


class DiskReading(msgspec.Struct, frozen=True):
    """In bytes. used: by the hub; free and total: of the disk that it is on; None where nobody can say."""

    used: int | None
    free: int | None
    total: int | None


class BackupReading(msgspec.Struct, frozen=True):
    """made_at: of the moment that it shows. form: sqlite or postgresql. copied: with the bytes of artifacts."""

    made_at: Micros
    folder: str
    form: str
    copied: bool


KINDS: Mapping[type[msgspec.Struct], str] = {
    QueueReading: "queue",
    TakenReading: "taken",
    DiskReading: "disk",
    BackupReading: "backup",
}

_SAMPLE = "INSERT INTO samples (name, at, process, value) VALUES {rows} ON CONFLICT (name, at, process) DO NOTHING"
_FORGET = "DELETE FROM samples WHERE at < %s"
_READ = (
    "INSERT INTO readings (kind, name, read_at, text) VALUES {rows} ON CONFLICT (kind, name) DO UPDATE SET"
    " read_at = EXCLUDED.read_at, text = EXCLUDED.text WHERE readings.read_at <= EXCLUDED.read_at"
)


def write_samples(database: Database, process: str, now: Micros, values: Mapping[Sampled, float]) -> None:
    """One of each name. Raises `DatabaseUnavailable`."""
    if not values:
        return
    flat = [value for name, sample in sorted(values.items()) for value in (name, now, process, sample)]
    with database.connection():
        database.execute(_SAMPLE.format(rows=", ".join(["(%s, %s, %s, %s)"] * len(values))), flat)


def forget_samples(database: Database, now: Micros) -> None:
    """Those older than a day. Raises `DatabaseUnavailable`."""
    with database.connection():
        database.execute(_FORGET, (now - KEEP_SAMPLES,))


def curve(database: Database, name: Sampled, after: Micros, until: Micros, points: int) -> list[Point]:
    """What was sampled in (after, until], as so many stretches of the same length; a stretch without a sample is left
    out. What was decided is added up over processes and given per second; of all else the greatest value stands.

    Raises `DatabaseUnavailable`.
    """
    width = max(1, -(-(until - after) // points))
    whole = "sum" if name is Sampled.DECIDED else "max"
    with database.connection():
        found = database.all(
            f"SELECT (at - %s - 1) / %s AS stretch, {whole}(value) FROM samples"
            " WHERE name = %s AND at > %s AND at <= %s GROUP BY 1 ORDER BY 1",
            after,
            width,
            name,
            after,
            until,
        )
    per = width / SECOND if name is Sampled.DECIDED else 1.0
    return [Point(min(until, after + (int(stretch) + 1) * width), float(value) / per) for stretch, value in found]


def outbox_age(database: Database, now: Micros) -> Micros:
    """Of the oldest follow-up that is not published; 0 if there is none. Raises `DatabaseUnavailable`."""
    with database.connection():
        row = database.one("SELECT min(created_at) FROM outbox")
    return 0 if row is None or row[0] is None else max(0, now - int(row[0]))


def size_of(database: Database) -> int:
    """What the records take of their disk, in bytes. Raises `DatabaseUnavailable`."""
    sql = (
        "SELECT pg_database_size(current_database())"
        if database.postgres
        else "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    )
    with database.connection():
        row = database.one(sql)
    assert row is not None
    return int(row[0])


def tell(database: Database, now: Micros, readings: Mapping[str, msgspec.Struct]) -> None:
    """Put these in the place of what was read of the same things before. Raises `DatabaseUnavailable`."""
    told = [(KINDS[type(one)], name, one) for name, one in sorted(readings.items())]
    if not told:
        return
    flat = [value for kind, name, one in told for value in (kind, name, now, msgspec.json.encode(one).decode())]
    with database.connection():
        database.execute(_READ.format(rows=", ".join(["(%s, %s, %s, %s)"] * len(told))), flat)


def told(database: Database, kind: type[T]) -> dict[str, tuple[Micros, T]]:
    """What was read last of this kind: by name, when and what. Raises `DatabaseUnavailable`."""
    with database.connection():
        found = database.all("SELECT name, read_at, text FROM readings WHERE kind = %s ORDER BY name", KINDS[kind])
    return {name: (at, msgspec.json.decode(text, type=kind)) for name, at, text in found}
