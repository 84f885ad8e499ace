"""Reads records for decisions and collects them: many ids at once, and nothing where there is nothing to ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from domain import records as r
from domain.ids import Id
from domain.needs import Needs
from domain.records import Record
from storage.database import Database
from storage.tables import select

R = TypeVar("R", bound=Record)


@dataclass
class Loaded:
    """The rows, the live runs in which a retiring site holds a live seat, and when sites were last heard of."""

    records: list[Record] = field(default_factory=list)
    seated: list[tuple[Id, Id]] = field(default_factory=list)
    """(site id, run id)"""
    seen: dict[Id, int] = field(default_factory=dict)
    """Site id -> its newest beat, microseconds since the epoch; absent: it never called."""
    counts: dict[tuple[str, Id], int] = field(default_factory=dict)
    """(what, owner) -> how many; absent: none."""


class Reader:
    """Collects records; asks nothing where there is nothing to ask for."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.loaded = Loaded()

    def rows(self, kind: type[R], sql: str, ids: Iterable[object | None], *before: object) -> list[R]:
        """sql: with a place for the ids; before: what the places before that one are for."""
        wanted = [key for key in ids if key is not None]
        if not wanted:
            return []
        found = [kind(*row) for row in self.database.all(sql, *before, self.database.many(wanted))]
        self.loaded.records.extend(found)
        return found

    def all(self, kind: type[R], sql: str, *values: object) -> list[R]:
        """Whatever the query finds."""
        found = [kind(*row) for row in self.database.all(sql, *values)]
        self.loaded.records.extend(found)
        return found

    def keys(self, wanted: Iterable[tuple[Id, int]]) -> None:
        """These, and such as belong to one of the sites and have another's epoch: so both indexes and arrays do."""
        many, known = self.database.many, list(wanted)
        if known:
            found = self.database.all(
                f"{select(r.SiteKey)} WHERE site_id {{any:uuid}} AND epoch {{any}}",
                many(site for site, _ in known),
                many(epoch for _, epoch in known),
            )
            self.loaded.records.extend(r.SiteKey(*row) for row in found)

    def models(self, wanted: Iterable[tuple[Id, int]]) -> list[r.Model]:
        found = [r.Model(*row) for run, version in sorted(wanted) for row in self.database.all(_MODEL, run, version)]
        self.loaded.records.extend(found)
        return found

    def submissions(self, wanted: Iterable[tuple[Id, int, int]]) -> None:
        for run, seq, number in sorted(wanted):
            self.loaded.records.extend(r.Submission(*row) for row in self.database.all(_SUBMISSIONS, run, seq, number))

    def history(self, needs: Needs) -> None:
        """The row of the history, recoveries, revocations; inbox entries by number, or all from a number on."""
        if needs.history:
            self.loaded.records.extend(r.History(*row) for row in self.database.all(select(r.History)))
        self.rows(r.Recovery, f"{select(r.Recovery)} WHERE site_id {{any:uuid}}", needs.recoveries)
        self.rows(r.Revocation, f"{select(r.Revocation)} WHERE name {{any}}", needs.revocations)
        for sql, wanted in ((_ENTRY, needs.marks), (_ENTRIES_FROM, needs.boxes)):
            for site, seq in sorted(wanted):
                self.loaded.records.extend(r.InboxEntry(*row) for row in self.database.all(sql, site, seq))

    def pairs(self, sql: str, ids: Iterable[Id]) -> list[tuple[Id, Id]]:
        wanted = list(ids)
        return [(a, b) for a, b in self.database.all(sql, self.database.many(wanted))] if wanted else []


_MODEL = (
    f"{select(r.Model, 'models.')} JOIN runs ON runs.project_id = models.project_id"
    " WHERE runs.id = %s AND models.version = %s"
)
_SUBMISSIONS = (
    f"{select(r.Submission, 'submissions.')} JOIN task_runs ON task_runs.id = submissions.task_run_id"
    " WHERE task_runs.run_id = %s AND task_runs.seq = %s AND submissions.round = %s"
)
_ENTRY = f"{select(r.InboxEntry)} WHERE site_id = %s AND seq = %s"
_ENTRIES_FROM = (
    f"{select(r.InboxEntry)} WHERE site_id = %s AND (seq >= %s"
    " OR seq > (SELECT acknowledged_seq FROM mailboxes WHERE mailboxes.site_id = inbox.site_id)) ORDER BY seq"
)
