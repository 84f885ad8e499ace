"""What is due: the ticker's questions to the store. Each answers with at most a few hundred rows."""

from __future__ import annotations

from typing import Literal, NamedTuple

from domain.commands import ChangeHistory
from domain.ids import Id
from domain.values import Contract, Micros
from domain.webhooks import DEAD_LETTER, KINDS
from domain.workloads import AT_SITE
from fedyard.cluster.port import Reason
from fedyard.wire.times import SECOND
from storage.database import Database
from storage.history import finding
from storage.leadership import lead, step_down

MAX_FOUND = 500
EVENTS_AT_ONCE = 100
"""Of one stream."""
_LEADER = 4_207_413


class Deadline(NamedTuple):
    """task_seq and round are None for a run's own deadline."""

    run_id: Id
    task_seq: int | None
    round: int | None
    deadline_at: Micros


class StageDeadline(NamedTuple):
    """Of a round that a project's own coordinator leads."""

    project_id: Id
    epoch: int
    number: int
    deadline_at: Micros


class Untold(NamedTuple):
    """Events of a stream behind `after`, where it was looked at last, that webhooks may want to be told of."""

    stream_kind: Literal["project", "site"]
    stream_id: Id
    after: int
    seqs: list[int]


class SilentSeat(NamedTuple):
    """A live seat that its round waits for, of a site that was last heard of at `seen_at`."""

    run_id: Id
    site_id: Id
    task_run_id: Id
    round: int
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
AND (
  artifacts.kind <> 'model' OR projects.archived_at IS NOT NULL OR (
    artifacts.message_id IS NULL
    AND NOT EXISTS (SELECT 1 FROM project_rounds WHERE project_rounds.checkpoint_artifact_id = artifacts.id)
  )
)
AND (
  artifacts.kind <> 'initial' OR artifacts.ttl_s IS NOT NULL OR projects.archived_at IS NOT NULL OR NOT EXISTS
  (SELECT 1 FROM archives WHERE archives.artifact_id = artifacts.id AND archives.state = 'checked')
)
ORDER BY artifacts.created_at LIMIT %s
"""


_ANY_WEBHOOK = "SELECT 1 FROM webhooks WHERE state = 'active'"
_KINDS_TOLD = ", ".join(f"'{kind}'" for kind in KINDS)
"""As the partial index `events_told` has them, or it would not be used."""
_UNTOLD = f"""
WITH concerned AS (
  SELECT owner_id AS id, 'project' AS kind FROM webhooks WHERE state = 'active' AND owner_kind = 'project'
  UNION SELECT memberships.site_id, 'site' FROM webhooks JOIN memberships ON memberships.project_id = webhooks.owner_id
    WHERE webhooks.state = 'active' AND webhooks.owner_kind = 'project' AND memberships.state = 'active'
  UNION SELECT sites.id, 'site' FROM webhooks JOIN sites ON sites.organisation_id = webhooks.owner_id
    WHERE webhooks.state = 'active'
  UNION SELECT memberships.project_id, 'project' FROM webhooks JOIN sites ON sites.organisation_id = webhooks.owner_id
    JOIN memberships ON memberships.site_id = sites.id WHERE webhooks.state = 'active'
)
SELECT concerned.kind, concerned.id, coalesce(event_cursors.seq, 0) FROM concerned
LEFT JOIN event_cursors ON event_cursors.stream_id = concerned.id
WHERE EXISTS (
  SELECT 1 FROM events WHERE events.stream_id = concerned.id AND events.seq > coalesce(event_cursors.seq, 0)
  AND events.kind IN ({_KINDS_TOLD})
)
ORDER BY 2 LIMIT %s
"""
_UNTOLD_OF_STREAM = (
    f"SELECT seq FROM events WHERE stream_id = %s AND seq > %s AND kind IN ({_KINDS_TOLD}) ORDER BY seq LIMIT %s"
)
_SILENT_WITHIN_S = {
    True: "(task_runs.spec_json::json -> 'contract' ->> 'silent_within_s')::float8",
    False: "json_extract(task_runs.spec_json, '$.contract.silent_within_s')",
}
"""By whether it is PostgreSQL. A span that a contract leaves unsaid is the default one."""


class Due:
    """Reads for the ticker, on a connection that it keeps: leadership hangs on it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lead(self) -> bool:
        """True if this process may act. PostgreSQL: an advisory lock that dies with the connection."""
        return lead(self._database, _LEADER)

    def step_down(self) -> None:
        """Give up the connection, and with it the leadership."""
        step_down(self._database)

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
            " WHERE rounds.state IN ('selecting', 'training', 'aggregating', 'scoring') AND rounds.deadline_at <= %s"
            " ORDER BY 4 LIMIT %s",
            now,
            now,
            MAX_FOUND,
        )
        return [Deadline(*row) for row in rows]

    def stage_deadlines(self, now: Micros) -> list[StageDeadline]:
        """Rounds of projects' own coordinators whose stage's deadline has passed, the oldest first."""
        rows = self._database.all(
            "SELECT project_id, epoch, number, deadline_at FROM project_rounds"
            " WHERE state IN ('selection', 'configuration', 'reporting') AND deadline_at <= %s"
            " ORDER BY deadline_at LIMIT %s",
            now,
            MAX_FOUND,
        )
        return [StageDeadline(*row) for row in rows]

    def gone_silent(self, seen_before: Micros) -> list[tuple[Id, Micros, Micros]]:
        """Online sites last heard of before this: (id, since when they count as online, last heard of)."""
        rows = self._database.all(
            "SELECT sites.id, sites.state_at, coalesce(site_beats.seen_at, 0) FROM sites"
            " LEFT JOIN site_beats ON site_beats.site_id = sites.id"
            " WHERE sites.state = 'online' AND sites.state_at < %s AND coalesce(site_beats.seen_at, 0) < %s"
            " ORDER BY 1 LIMIT %s",
            seen_before,
            seen_before,
            MAX_FOUND,
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
            MAX_FOUND,
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def silent_seats(self, now: Micros) -> list[SilentSeat]:
        """Live seats that a round waits for, of sites that are silent for longer than the task's contract allows."""
        rows = self._database.all(
            "SELECT seats.run_id, seats.site_id, seats.task_run_id, seats.round,"
            " coalesce(site_beats.seen_at, sites.created_at)"
            " FROM seats JOIN sites ON sites.id = seats.site_id JOIN task_runs ON task_runs.id = seats.task_run_id"
            " LEFT JOIN site_beats ON site_beats.site_id = seats.site_id"
            " WHERE sites.state = 'silent' AND task_runs.state = 'active' AND task_runs.round > 0"
            " AND seats.state IN ('invited', 'preparing', 'ready', 'training', 'uploading')"
            " AND coalesce(site_beats.seen_at, sites.created_at)"
            f" + coalesce({_SILENT_WITHIN_S[self._database.postgres]}, %s) * {SECOND} <= %s ORDER BY 1, 2 LIMIT %s",
            Contract().silent_within_s,
            now,
            MAX_FOUND,
        )
        return [SilentSeat(*row) for row in rows]

    def silent_places(self, before: Micros) -> list[tuple[Id, Micros]]:
        """Silent sites that were not heard of since then, and have workloads that are believed in: (id, last heard
        of)."""
        rows = self._database.all(
            "SELECT DISTINCT sites.id, coalesce(site_beats.seen_at, sites.created_at) FROM sites"
            f" JOIN workloads ON workloads.cluster = '{AT_SITE}' || CAST(sites.id AS TEXT)"
            " LEFT JOIN site_beats ON site_beats.site_id = sites.id"
            " WHERE sites.state = 'silent' AND workloads.state IN ('wanted', 'starting', 'running')"
            f" AND (workloads.reason <> '{Reason.SITE_SILENT}' OR workloads.stop_at IS NOT NULL)"
            " AND coalesce(site_beats.seen_at, sites.created_at) <= %s ORDER BY 1 LIMIT %s",
            before,
            MAX_FOUND,
        )
        return [(row[0], row[1]) for row in rows]

    def expired_messages(self, now: Micros) -> list[Id]:
        """Messages past their time."""
        rows = self._database.all(
            "SELECT id FROM messages WHERE expired_at IS NULL AND expires_at <= %s ORDER BY expires_at LIMIT %s",
            now,
            MAX_FOUND,
        )
        return [row[0] for row in rows]

    def expired_artifacts(self, now: Micros, kept_before: Micros) -> list[Id]:
        """Uploads and stored ones whose time is over, or whose run has ended (without a run: that were stored) before
        `kept_before`. Whether a live run needs one the decision asks.
        """
        rows = self._database.all(_EXPIRED_ARTIFACTS, now, kept_before, kept_before, MAX_FOUND)
        return [row[0] for row in rows]

    def untold(self) -> list[Untold]:
        """Of the streams that concern a webhook, of each the next few: none waits until another's thousands are told.

        Without a webhook this costs a look at an empty table.
        """
        if self._database.one(_ANY_WEBHOOK) is None:
            return []
        return [
            Untold(
                kind,
                stream,
                after,
                [row[0] for row in self._database.all(_UNTOLD_OF_STREAM, stream, after, EVENTS_AT_ONCE)],
            )
            for kind, stream, after in self._database.all(_UNTOLD, MAX_FOUND)
        ]

    def deliveries(self, now: Micros) -> list[tuple[Id, Micros]]:
        """Deliveries of webhooks that are to be tried now, the longest due first: (id, since when)."""
        rows = self._database.all(
            "SELECT id, next_at FROM webhook_deliveries WHERE state = 'waiting' AND next_at <= %s"
            " ORDER BY next_at LIMIT %s",
            now,
            MAX_FOUND,
        )
        return [(row[0], row[1]) for row in rows]

    def last_words(self, now: Micros) -> list[tuple[Id, Micros]]:
        """Federated runs without a worker whose controller has had its time to report: (id, until when)."""
        rows = self._database.all(
            "SELECT run_id, check_at FROM matches WHERE check_at <= %s ORDER BY check_at LIMIT %s", now, MAX_FOUND
        )
        return [(row[0], row[1]) for row in rows]

    def wants_dead_letters(self) -> bool:
        """Is there a webhook that wants to be told of them?"""
        return self._database.one(_ANY_WEBHOOK + f" AND kinds LIKE '%%{DEAD_LETTER}%%'") is not None
