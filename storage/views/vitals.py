"""How the hub does, for who runs or audits it: its processes, and what they have sampled and read."""

from __future__ import annotations

from typing import Literal

from config.processes import host_of
from domain.values import Micros
from fedyard.wire.times import SECOND, time_text
from storage.database import Database
from storage.presence import NAMED_FOR, SILENT_AFTER
from storage.views.resources import Resource, Time, time_or_none
from storage.views.sight import Listed
from storage.vitals import (
    BackupReading,
    DiskReading,
    QueueReading,
    Sampled,
    TakenReading,
    curve,
    told,
)

POINTS = 360
"""Of a curve at most: an hour of samples as they were taken."""

_PROCESSES = (
    "SELECT process, role, version, started_at, seen_at, leads, offset_us FROM process_clocks"
    " WHERE seen_at >= %s ORDER BY role, process"
)


class HubProcess(Resource, frozen=True):
    """A process of the hub, or a part of an embedded one, as it reported last. leads: whether it acts for its role;
    null where all do. state: silent, if it has not reported for half a minute. clock_ahead_s: of its machine."""

    process: str
    role: str
    host: str
    version: str
    started_at: Time | None
    seen_at: Time
    state: Literal["live", "silent"]
    leads: bool | None
    clock_ahead_s: float


class QueueDepth(Resource, frozen=True):
    """ready: commands that wait; delayed: those that are tried again later; dead: dead letters.
    oldest_since: none of the ready ones was asked for before."""

    queue: str
    ready: int
    delayed: int
    dead: int
    oldest_since: Time | None
    read_at: Time


class Disk(Resource, frozen=True):
    """name: records, commands or artifacts. used_bytes: by them; free_bytes, total_bytes: of the disk that they are on;
    null where the hub cannot see it."""

    name: str
    used_bytes: int | None
    free_bytes: int | None
    total_bytes: int | None
    read_at: Time


class Backup(Resource, frozen=True):
    """The last one that `fedyard-hub backup` made. with_artifacts: with their bytes."""

    made_at: Time
    folder: str
    form: str
    with_artifacts: bool


class CurvePoint(Resource, frozen=True):
    """at: when the stretch ends that it is of."""

    at: Time
    value: float


class Curve(Resource, frozen=True):
    """decided: commands per second; of all else the greatest value of a stretch. One in which nobody sampled has no
    point."""

    name: Sampled
    points: list[CurvePoint]


class Vitals(Resource, frozen=True):
    """backup: null if none is known of. stretch_s: how much time a point of a curve is of."""

    at: Time
    queues: list[QueueDepth]
    disks: list[Disk]
    backup: Backup | None
    stretch_s: float
    curves: list[Curve]


def processes(database: Database, now: Micros) -> Listed[HubProcess]:
    """Those that reported in the last minutes, by role. Raises `DatabaseUnavailable`."""
    with database.connection():
        found = database.all(_PROCESSES, now - NAMED_FOR)
    return Listed(
        items=[
            HubProcess(
                process=process,
                role=role,
                host=host_of(process),
                version=version,
                started_at=time_or_none(started_at),
                seen_at=time_text(seen_at),
                state="silent" if now - seen_at > SILENT_AFTER else "live",
                leads=None if leads is None else bool(leads),
                clock_ahead_s=round(offset / SECOND, 3),
            )
            for process, role, version, started_at, seen_at, leads, offset in found
        ],
        next=None,
    )


def vitals(database: Database, now: Micros, span_s: int, points: int = POINTS) -> Vitals:
    """As it was read last, with curves of the last `span_s` seconds of so many points at most.

    Raises `DatabaseUnavailable`.
    """
    stretch_s = max(10, -(-span_s // points))
    until = -(-now // (stretch_s * SECOND)) * stretch_s * SECOND
    after = until - -(-span_s // stretch_s) * stretch_s * SECOND
    taken = told(database, TakenReading)
    made = told(database, BackupReading).get("")
    return Vitals(
        at=time_text(now),
        queues=[
            QueueDepth(
                queue=name,
                ready=one.ready,
                delayed=one.delayed,
                dead=one.dead,
                oldest_since=time_or_none(_oldest(one, taken[name][1] if name in taken else None)),
                read_at=time_text(at),
            )
            for name, (at, one) in told(database, QueueReading).items()
        ],
        disks=[
            Disk(name=name, used_bytes=one.used, free_bytes=one.free, total_bytes=one.total, read_at=time_text(read_at))
            for name, (read_at, one) in told(database, DiskReading).items()
        ],
        backup=None
        if made is None
        else Backup(
            made_at=time_text(made[1].made_at),
            folder=made[1].folder,
            form=made[1].form,
            with_artifacts=made[1].copied,
        ),
        stretch_s=float(stretch_s),
        curves=[
            Curve(
                name=name,
                points=[
                    CurvePoint(at=time_text(one.at), value=one.value)
                    for one in curve(database, name, after, until, (until - after) // (stretch_s * SECOND))
                ],
            )
            for name in Sampled
        ],
    )


def _oldest(queue: QueueReading, taken: TakenReading | None) -> Micros | None:
    """The broker's word; else what is certain: a queue is first in, first out, so that none of those that wait was
    asked for before the last one that was taken, nor before the queue was empty last."""
    if queue.ready == 0 or queue.oldest_at is not None:
        return queue.oldest_at if queue.ready else None
    bounds = [at for at in (queue.empty_at, taken.asked_at if taken else None) if at is not None]
    return max(bounds, default=None)
