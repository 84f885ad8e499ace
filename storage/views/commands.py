"""Outcomes of commands, and the counts that operators watch."""

from __future__ import annotations

from domain.ids import Id
from domain.records import Outcome
from domain.values import Micros, Subject
from storage.database import Database
from storage.views.sight import Clause, row

_OUTCOME = "SELECT id, kind, subject_kind, subject_id, state, status, answer_json, digest, decided_at FROM commands"


def outcome(database: Database, ident: Id) -> Outcome | None:
    """What became of a command, or None while it is not decided."""
    found = row(database, _OUTCOME, [Clause("id = %s", (ident,))])
    return None if found is None else Outcome(*found)


def outcome_for(database: Database, subject: Subject, ident: Id) -> Outcome | None:
    """The same for the one who sent it, and for admins. To everybody else nobody has sent such a command."""
    mine = [] if subject.role == "admin" else [Clause("subject_id = %s", (subject.id,))]
    found = row(database, _OUTCOME, [Clause("id = %s", (ident,)), *mine])
    return None if found is None else Outcome(*found)


def decided_between(database: Database, after: Micros, until: Micros) -> list[tuple[str, str, int]]:
    """Kind, state, count of the commands decided in (after, until]."""
    with database.connection():
        return [
            (kind, state, int(count))
            for kind, state, count in database.all(
                "SELECT kind, state, count(*) FROM commands WHERE decided_at > %s AND decided_at <= %s "
                "GROUP BY kind, state",
                after,
                until,
            )
        ]


def live_runs(database: Database) -> dict[str, int]:
    """Live runs by state."""
    with database.connection():
        return dict(
            database.all("SELECT state, count(*) FROM runs WHERE state IN ('created', 'running') GROUP BY state")
        )


def sites_by_state(database: Database) -> dict[str, int]:
    """Sites online and silent."""
    with database.connection():
        return dict(database.all("SELECT state, count(*) FROM sites WHERE state <> 'retired' GROUP BY state"))


def outbox_backlog(database: Database) -> tuple[int, Micros | None]:
    """How many follow-ups wait to be published, and since when the oldest does."""
    with database.connection():
        count, oldest = database.one("SELECT count(*), min(created_at) FROM outbox") or (0, None)
    return int(count), oldest


def answers(database: Database) -> None:
    """Raises `DatabaseUnavailable` unless the database answers."""
    with database.connection():
        database.one("SELECT 1")
