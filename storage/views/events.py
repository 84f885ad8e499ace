"""What happened: of a project, a site, or a run."""

from __future__ import annotations

import msgspec

from domain.ids import Id
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.resources import Event, EventSubject, Facts
from storage.views.runs import sees_whole
from storage.views.sight import Clause, Listed, own, rows

_EVENT = (
    "SELECT stream_id, seq, kind, at, command_id, subject_kind, subject_id, run_id, site_id, facts_json, hash "
    "FROM events"
)
_NEWEST = "ORDER BY seq DESC LIMIT %s"
_facts = msgspec.json.Decoder(Facts)


def of_stream(database: Database, stream: Id, *, after: int, limit: int) -> Listed[Event]:
    """A project's or site's events behind `after`; who may read them was asked before."""
    return _listed(database, [Clause("stream_id = %s", (stream,))], after, limit)


OUTS = ("task_failed", "seat_failed", "seat_dropped", "seat_left_out", "receipt_missing")
"""Kinds of events that say why a task, or a seat in it, is out."""


def newest_of_run(
    database: Database, subject: Subject, run: Id, *, limit: int, past: bool, outs: bool = False
) -> list[Event]:
    """The newest of a run's events, the newest first. outs: only those that say why something is out of it."""
    where = _seen_of_run(database, subject, run, past=past)
    if outs:
        where.append(Clause("kind {any}", (database.many(OUTS),)))
    return [_event(one) for one in rows(database, _EVENT, where, _NEWEST, limit)]


def newest(database: Database, stream: Id, limit: int) -> list[Event]:
    """The newest events of a stream, the newest first; who may read them was asked before."""
    return [_event(one) for one in rows(database, _EVENT, [Clause("stream_id = %s", (stream,))], _NEWEST, limit)]


def of_run(
    database: Database, subject: Subject, run: Id, *, after: int, limit: int, past: bool = False
) -> Listed[Event]:
    """A run's events behind `after`. Who may read the run was asked before.

    A participant sees its own and nobody's, who has left the project (`past`) its own alone.
    """
    return _listed(database, _seen_of_run(database, subject, run, past=past), after, limit)


def _seen_of_run(database: Database, subject: Subject, run: Id, *, past: bool) -> list[Clause]:
    where = [Clause("run_id = %s", (run,))]
    if not sees_whole(database, subject, run):
        mine = own("site_id", subject)
        where.append(mine if past else Clause(f"(site_id IS NULL OR {mine.sql})", mine.params))
    return where


def _listed(database: Database, where: list[Clause], after: int, limit: int) -> Listed[Event]:
    found = rows(database, _EVENT, [*where, Clause("seq > %s", (after,))], "ORDER BY seq LIMIT %s", limit + 1)
    shown = found[:limit]
    return Listed(items=[_event(one) for one in shown], next=str(shown[-1][1]) if len(found) > limit else None)


def _event(one: Row) -> Event:
    stream, seq, kind, at, command, subject_kind, subject_id, run, site, facts, digest = one
    return Event(
        stream_id=stream,
        seq=seq,
        kind=kind,
        at=time_text(at),
        command_id=command,
        subject=EventSubject(kind=subject_kind, id=subject_id),
        run_id=run,
        site_id=site,
        facts=_facts.decode(facts),
        hash=digest,
    )
