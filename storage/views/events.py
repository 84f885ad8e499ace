"""What happened: of a project, a site, or a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from domain.ids import Id
from domain.values import Micros, Subject
from fedyard.wire.times import DAY, HOUR, time_text
from storage.database import Database, Row
from storage.views.resources import Event, EventSubject, Facts
from storage.views.runs import sees_whole
from storage.views.sight import Clause, Listed, own, rows, sees_everything

_EVENT = (
    "SELECT stream_id, seq, kind, at, command_id, subject_kind, subject_id, run_id, site_id, facts_json, hash "
    "FROM events"
)
_NEWEST = "ORDER BY seq DESC LIMIT %s"
_BACK = (HOUR, DAY, 30 * DAY, 100_000 * DAY)
"""How far a search of all events looks back at first, and then further."""
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


@dataclass(frozen=True)
class Sought:
    """Events of a span of time, microseconds. subject: who did it. about: the stream, run or site."""

    since: Micros
    until: Micros
    subject: Id | None = None
    about: Id | None = None
    kind: str | None = None


class Behind(NamedTuple):
    """The place in a list from the newest event on behind which its next page begins."""

    at: Micros
    stream_id: Id
    seq: int

    @property
    def text(self) -> str:
        return f"{self.at}-{self.stream_id}-{self.seq}"

    @classmethod
    def of(cls, text: str) -> Behind:
        """The place that `text` was made from; its form was checked before."""
        at, _, rest = text.partition("-")
        stream, _, seq = rest.rpartition("-")
        return cls(int(at), stream, int(seq))


def sought(database: Database, subject: Subject, wanted: Sought, *, after: Behind | None, limit: int) -> Listed[Event]:
    """What happened, the newest first: for admins and auditors everywhere, for others at their sites and in projects
    that they coordinate. Looks further back by and by: most who ask have seen enough before."""
    where = [*_seen(subject), *_of_wanted(wanted)]
    end = wanted.until if after is None else min(wanted.until, after.at + 1)
    if after is not None:
        where.append(Clause("(at, stream_id, seq) < (%s, %s, %s)", tuple(after)))
    found: list[Row] = []
    for back in _BACK:
        begin = max(wanted.since, end - back)
        span = Clause("at >= %s AND at < %s", (begin, end))
        found = rows(database, _EVENT, [span, *where], "ORDER BY at DESC, stream_id DESC, seq DESC LIMIT %s", limit + 1)
        if len(found) > limit or begin == wanted.since:
            break
    shown = found[:limit]
    more = len(found) > limit
    next_one = Behind(shown[-1][3], shown[-1][0], shown[-1][1]).text if more else None
    return Listed(items=[_event(one) for one in shown], next=next_one)


def _seen(subject: Subject) -> list[Clause]:
    if sees_everything(subject):
        return []
    site, lead = own("stream_id", subject), own("coordinator_site_id", subject)
    led = f"stream_id IN (SELECT id FROM projects WHERE {lead.sql})"
    return [Clause(f"({site.sql} OR {led})", (*site.params, *lead.params))]


def _of_wanted(wanted: Sought) -> list[Clause]:
    where = []
    if wanted.subject is not None:
        where.append(Clause("subject_id = %s", (wanted.subject,)))
    if wanted.about is not None:
        where.append(Clause("(stream_id = %s OR run_id = %s OR site_id = %s)", (wanted.about,) * 3))
    if wanted.kind is not None:
        where.append(Clause("kind = %s", (wanted.kind,)))
    return where


def kinds_of_streams(database: Database, streams: Iterable[Id]) -> dict[Id, str]:
    """What the streams are of: an organisation, a project, a site."""
    with database.connection():
        wanted = database.many(sorted(set(streams)))
        return dict(database.all("SELECT id, kind FROM streams WHERE id {any:uuid}", wanted))


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
