"""The heads of the chains of events: how far each has come, and the hash of its newest event.

A member of a project may know its head: a participant is shown the numbers and hashes of a run's events as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from domain.ids import Id
from domain.values import Subject
from storage.database import Database
from storage.views.sight import Clause, Cursor, Listed, Paging, acting_member_of, own, rows, sees_everything

AT_ONCE = 20
"""Streams of which an answer of the inbox carries the heads."""

_HEAD = (
    "SELECT (SELECT history_id FROM history) AS history_id, streams.id, streams.kind, streams.last_seq, "
    "streams.last_hash FROM streams"
)
_MEMBER = (
    "EXISTS (SELECT 1 FROM memberships mine WHERE mine.project_id = streams.id AND mine.state = 'active' "
    "AND mine.site_id ="
)
_OF_MANY = """
SELECT wanted.site_id, history.history_id, streams.id, streams.kind, streams.last_seq, streams.last_hash
FROM unnest(%s::uuid[], %s::uuid[]) AS wanted (site_id, stream_id)
JOIN streams ON streams.id = wanted.stream_id
LEFT JOIN memberships mine
  ON mine.project_id = wanted.stream_id AND mine.site_id = wanted.site_id AND mine.state = 'active'
CROSS JOIN history
WHERE wanted.stream_id = wanted.site_id OR mine.site_id IS NOT NULL
"""
"""Flat, since PostgreSQL plans it each time."""


class Head(NamedTuple):
    """The newest event of a stream in the hub's history."""

    history_id: Id
    stream_id: Id
    kind: str
    seq: int
    hash: str


class Wanted(NamedTuple):
    """The streams that entries of a site's inbox are about."""

    site: Id
    streams: Sequence[Id]


def of_site(database: Database, wanted: Wanted) -> list[Head]:
    """Those of the streams that the site may know of: its own, and those of projects that it is a member of."""
    one_of = Clause("streams.id {any:uuid}", (database.many(wanted.streams),))
    sql = f"{_HEAD} WHERE {one_of.sql} AND (streams.id = %s OR {_MEMBER} %s))"
    with database.connection():
        found = database.all(sql, *one_of.params, wanted.site, wanted.site)
    return [Head(*row) for row in found]


def of_sites(database: Database, wanted: Sequence[Wanted]) -> dict[Id, list[Head]]:
    """The same for many sites; in PostgreSQL one query."""
    found: dict[Id, list[Head]] = {one.site: [] for one in wanted}
    if not database.postgres:
        return {one.site: of_site(database, one) for one in wanted}
    pairs = [(one.site, stream) for one in wanted for stream in one.streams]
    if pairs:
        for site, *head in database.all(_OF_MANY, *map(list, zip(*pairs, strict=True))):
            found[site].append(Head(*head))
    return found


def seen(database: Database, subject: Subject, paging: Paging) -> Listed[Head]:
    """A page of all that the subject may know of, by the streams' ids."""
    where = [] if sees_everything(subject) else [_known_to(subject)]
    if paging.after is not None:
        where.append(Clause("streams.id > %s", (paging.after.id,)))
    found = [Head(*one) for one in rows(database, _HEAD, where, "ORDER BY streams.id LIMIT %s", paging.limit + 1)]
    shown = found[: paging.limit]
    more = len(found) > paging.limit
    return Listed(items=shown, next=Cursor(0, shown[-1].stream_id).text if more else None)


def _known_to(subject: Subject) -> Clause:
    site, project = own("streams.id", subject), acting_member_of("streams.id", subject)
    return Clause(f"({site.sql} OR {project.sql})", (*site.params, *project.params))
