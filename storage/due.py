"""What is due: the ticker's questions to the store. Each answers with at most a few hundred rows."""

from __future__ import annotations

from typing import NamedTuple

from domain.commands import ChangeHistory, Micros
from domain.ids import Id
from storage.database import Database
from storage.history import finding

AT_MOST = 500
_LEADER = 4_207_413


class Deadline(NamedTuple):
    """task_seq and round are None for a run's own deadline."""

    run_id: Id
    task_seq: int | None
    round: int | None
    deadline_at: Micros


class SilentSeat(NamedTuple):
    """A live seat that its round waits for; silent_s: how long its site was not heard of, at least."""

    run_id: Id
    site_id: Id
    task_run_id: Id
    round: int
    spec_json: str
    seen_at: Micros


_EXPIRED_ARTIFACTS = """
SELECT artifacts.id FROM artifacts
JOIN projects ON projects.id = artifacts.project_id
LEFT JOIN runs ON runs.id = artifacts.run_id
WHERE artifacts.state <> 'expired'
AND (
  artifacts.expires_at <= %s
  OR (
    artifacts.state = 'stored' AND artifacts.ttl_s IS NULL AND artifacts.stored_at <= %s
    AND (artifacts.run_id IS NULL OR runs.ended_at <= %s)
  )
)
AND (artifacts.state = 'declared' OR artifacts.run_id IS NULL OR runs.state NOT IN ('created', 'running'))
AND (artifacts.kind <> 'model' OR artifacts.message_id IS NULL OR projects.archived_at IS NOT NULL)
ORDER BY artifacts.created_at LIMIT %s
"""


class Due:
    """Reads for the ticker, on a connection that it keeps: leadership hangs on it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lead(self) -> bool:
        """True if this process may act. PostgreSQL: an advisory lock that dies with the connection."""
        self._database.hold()
        if not self._database.postgres:
            return True
        row = self._database.one(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s "
            "AND pid = pg_backend_pid() AND granted) THEN true ELSE pg_try_advisory_lock(%s) END",
            _LEADER,
            _LEADER,
        )
        return bool(row and row[0])

    def step_down(self) -> None:
        """Give up the connection, and with it the leadership."""
        self._database.drop_connection()

    def history(self, drawn: Id) -> ChangeHistory | None:
        """That the history is another one (storage/history.py); where it is at first is for the deciders to note."""
        found = finding(self._database, drawn)
        return None if found is None or found.known else found

    def deadlines(self, now: Micros) -> list[Deadline]:
        """Runs and rounds whose deadline has passed, the oldest first."""
        rows = self._database.all(
            "SELECT id, NULL, NULL, deadline_at FROM runs WHERE state IN ('created', 'running') AND deadline_at <= %s"
            " UNION ALL SELECT rounds.run_id, task_runs.seq, rounds.number, rounds.deadline_at FROM rounds"
            " JOIN task_runs ON task_runs.id = rounds.task_run_id"
            " WHERE rounds.state IN ('selecting', 'training', 'aggregating') AND rounds.deadline_at <= %s"
            " ORDER BY 4 LIMIT %s",
            now,
            now,
            AT_MOST,
        )
        return [Deadline(*row) for row in rows]

    def gone_silent(self, seen_before: Micros) -> list[tuple[Id, Micros, Micros]]:
        """Online sites last heard of before this: (id, since when they count as online, last heard of)."""
        rows = self._database.all(
            "SELECT sites.id, sites.state_at, coalesce(site_beats.seen_at, 0) FROM sites"
            " LEFT JOIN site_beats ON site_beats.site_id = sites.id"
            " WHERE sites.state = 'online' AND sites.state_at < %s AND coalesce(site_beats.seen_at, 0) < %s"
            " ORDER BY 1 LIMIT %s",
            seen_before,
            seen_before,
            AT_MOST,
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def returned(self, seen_since: Micros) -> list[tuple[Id, Micros, Micros]]:
        """Silent sites heard of since this: (id, since when they count as silent, last heard of)."""
        rows = self._database.all(
            "SELECT sites.id, sites.state_at, site_beats.seen_at FROM sites"
            " JOIN site_beats ON site_beats.site_id = sites.id"
            " WHERE sites.state = 'silent' AND site_beats.seen_at >= %s AND site_beats.seen_at > sites.state_at"
            " ORDER BY 1 LIMIT %s",
            seen_since,
            AT_MOST,
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def silent_seats(self) -> list[SilentSeat]:
        """Live seats that a round waits for, of sites that count as silent; the contract says how long is too long."""
        rows = self._database.all(
            "SELECT seats.run_id, seats.site_id, seats.task_run_id, seats.round, task_runs.spec_json,"
            " coalesce(site_beats.seen_at, sites.created_at)"
            " FROM seats JOIN sites ON sites.id = seats.site_id JOIN task_runs ON task_runs.id = seats.task_run_id"
            " LEFT JOIN site_beats ON site_beats.site_id = seats.site_id"
            " WHERE sites.state = 'silent' AND task_runs.state = 'active'"
            " AND seats.state IN ('invited', 'preparing', 'ready', 'training', 'uploading') ORDER BY 1, 2 LIMIT %s",
            AT_MOST,
        )
        return [SilentSeat(*row) for row in rows]

    def expired_messages(self, now: Micros) -> list[Id]:
        """Messages past their time."""
        rows = self._database.all(
            "SELECT id FROM messages WHERE expired_at IS NULL AND expires_at <= %s ORDER BY expires_at LIMIT %s",
            now,
            AT_MOST,
        )
        return [row[0] for row in rows]

    def expired_artifacts(self, now: Micros, kept_before: Micros) -> list[Id]:
        """Uploads and stored ones whose time is over, or whose run has ended (without a run: that were stored) before
        `kept_before`. Whether a live run needs one the decision asks.
        """
        rows = self._database.all(_EXPIRED_ARTIFACTS, now, kept_before, kept_before, AT_MOST)
        return [row[0] for row in rows]
