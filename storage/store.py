"""The only writer. A deciding transaction: one lock, load what the decisions need, write what they changed.

One batch decides at a time (PostgreSQL: an advisory lock held to the end of the transaction; SQLite: BEGIN
IMMEDIATE), so neither lost updates nor deadlocks can occur, and both databases behave alike. Everything of a
batch is committed or nothing is; the announcement follows the commit. docs/adr/0003 says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from domain import records as r
from domain import stream_records as sr
from domain.commands import AgentVersion, Beat, TokenUse
from domain.ids import Id
from domain.needs import Needs
from domain.records import Record
from domain.sweeps import (
    AcknowledgeEntries,
    ForgetBefore,
    ForgetDeclaration,
    ForgetLogBefore,
    ForgetRecordsBefore,
    ForgetSecrets,
    LeaveOut,
    MissReceipt,
    PlaceGone,
    QueueEntries,
    RedeliverFailed,
    RevokeClientTokens,
    RevokeIssuedBy,
    RevokeTokensOf,
    Sweep,
)
from domain.values import Micros
from storage.database import Database, Row
from storage.loading import load
from storage.reader import Loaded
from storage.signals import Announcement, payloads
from storage.stream_states import FORGOTTEN
from storage.tables import COLUMNS

_DECIDING = 4_207_412
"""The advisory lock under which batches decide; any constant that no one else uses."""

_BEGIN = f"BEGIN; SET LOCAL enable_seqscan = off; SELECT pg_advisory_xact_lock({_DECIDING})"
"""Decisions find their rows by key. A plan that was made while a table was small must not scan it when it has grown."""

_PG_TYPES = {
    "Id": "uuid",
    "str": "text",
    "int": "bigint",
    "Micros": "bigint",
    "bytes": "bytea",
    "float": "double precision",
    "bool": "boolean",
}
_ONCE: frozenset[type[Record]] = frozenset(
    {
        r.Outcome,
        r.Event,
        r.Score,
        r.Submission,
        r.KeyStatement,
        r.ArtifactDeclaration,
        r.LogPiece,
        r.Model,
        r.WorkloadLogPiece,
        sr.ArchitectureVersion,
    }
)
"""Written once: a clash of their keys is an error, and the last net against deciding twice."""


@dataclass
class Changes:
    """What a batch changed: whole rows (the newest version of each), sweeps in order, follow-ups in the outbox."""

    rows: dict[type[Record], list[Record]] = field(default_factory=dict)
    sweeps: list[Sweep] = field(default_factory=list)
    announcement: Announcement = field(default_factory=Announcement)


class Transaction:
    """One deciding transaction, open and under the lock. decided: the asked-for commands that are decided already."""

    def __init__(self, database: Database, ids: Iterable[Id]) -> None:
        self._database = database
        self.written = False
        known = self._begin(database.many(ids))
        self.decided = {row[0]: r.Outcome(*row) for row in known}

    def _begin(self, ids: object) -> list[Row]:
        """On PostgreSQL one round trip: each statement of it sees what was committed before it began."""
        if self._database.postgres:
            return self._database.all(f"{_BEGIN}; {_OUTCOMES}", ids)
        self._database.execute("BEGIN IMMEDIATE")
        return self._database.all(_OUTCOMES, ids)

    def load(self, needs: Needs, now: Micros) -> Loaded:
        """The rows that these decisions need, in a fixed number of queries however many they are."""
        return load(self._database, needs, now)

    def write(self, changes: Changes) -> None:
        """Write and commit, in one round trip on PostgreSQL; announce on the way."""
        assert not self.written, "a transaction writes once"
        self.written = True
        if self._database.postgres:
            self._write_postgres(changes)
        else:
            self._write_sqlite(changes)

    def _write_postgres(self, changes: Changes) -> None:
        parts: list[str] = []
        params: list[object] = []
        for kind, rows in changes.rows.items():
            if rows:
                parts.append(self._database.prepared(f"fedyard_write_{kind.TABLE}", _POSTGRES[kind], _ARRAYS[kind]))
                columns = zip(*map(msgspec.structs.astuple, rows), strict=True)
                params.extend(map(_array, columns, COLUMNS[kind].values()))
        for sweep in changes.sweeps:
            for sql, values in _sweep(sweep):
                parts.append(sql)
                params.extend(values)
        parts.append("COMMIT")
        for payload in payloads(changes.announcement):
            parts.append("SELECT pg_notify('fedyard', %s)")
            params.append(payload)
        self._database.execute(";\n".join(parts), params)

    def _write_sqlite(self, changes: Changes) -> None:
        for kind, rows in changes.rows.items():
            if rows:
                self._database.execute_each(_SQLITE[kind], map(msgspec.structs.astuple, rows))
        for sweep in changes.sweeps:
            for sql, values in _sweep(sweep):
                self._database.execute(sql, values)
        self._database.execute("COMMIT")


class Store:
    """Writes of the deciding actors and of the lean lane."""

    def __init__(self, database: Database, announce: Callable[[Announcement], None] | None = None) -> None:
        """announce: called after each commit in embedded mode; PostgreSQL announces by NOTIFY."""
        self.database = database
        self._announce = announce

    @contextmanager
    def deciding(self, ids: Iterable[Id] = ()) -> Iterator[Transaction]:
        """A deciding transaction on the commands of these ids; rolled back unless `write` was called.

        Raises `DatabaseUnavailable`.
        """
        with self.database.connection():
            try:
                transaction = Transaction(self.database, ids)
                yield transaction
            except BaseException:
                self._roll_back()
                raise
            if not transaction.written:
                self._roll_back()

    def _roll_back(self) -> None:
        """Undo; where even that fails the connection is thrown away, which undoes as well."""
        try:
            self.database.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - whatever it was: without its connection the transaction is gone
            self.database.drop_connection()

    def announce(self, announcement: Announcement) -> None:
        """Tell this process's listeners, in embedded mode."""
        if self._announce is not None:
            self._announce(announcement)

    def record_heartbeats(
        self, beats: Sequence[Beat], uses: Sequence[TokenUse], versions: Sequence[AgentVersion] = ()
    ) -> None:
        """The lean lane: times and hand-out marks only move forward. Losing these is harmless: no fsync is awaited.

        versions: rare, so that they have a statement of their own.
        """
        if versions:
            self._record_versions(versions)
        seen = _newest((beat.site_id, (beat.seen_at, beat.handed_out)) for beat in beats)
        used = _newest((use.token_id, (use.used_at,)) for use in uses)
        with self.database.connection():
            if self.database.postgres:
                self.database.execute(
                    f"BEGIN; SET LOCAL synchronous_commit = off;{_BEATS_POSTGRES};{_USES_POSTGRES};COMMIT",
                    [*_transposed(seen, 3), *_transposed(used, 2)],
                )
                return
            self.database.execute("BEGIN IMMEDIATE")
            try:
                self.database.execute_each(_BEATS_SQLITE, seen)
                self.database.execute_each(_USES_SQLITE, used)
                self.database.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _record_versions(self, versions: Sequence[AgentVersion]) -> None:
        newest: dict[Id, AgentVersion] = {}
        for one in versions:
            if one.site_id not in newest or newest[one.site_id].at <= one.at:
                newest[one.site_id] = one
        rows: list[Row] = [(key, newest[key].version, newest[key].at) for key in sorted(newest)]
        with self.database.connection():
            if self.database.postgres:
                self.database.execute(_VERSIONS_POSTGRES, _transposed(rows, 3))
            else:
                self.database.execute_each(_VERSIONS_SQLITE, rows)

    def outbox(self, older_than: int, at_most: int) -> list[r.OutboxRow]:
        """The oldest follow-ups committed before `older_than`."""
        with self.database.connection():
            rows = self.database.all(_OUTBOX, older_than, at_most)
        return [r.OutboxRow(*row) for row in rows]

    def forget_outbox(self, ids: Iterable[Id]) -> None:
        """These were published (confirmed by the broker)."""
        with self.database.connection():
            self.database.execute("DELETE FROM outbox WHERE id {any:uuid}", (self.database.many(ids),))


def _newest(pairs: Iterable[tuple[Id, tuple[int, ...]]]) -> list[Row]:
    """One row for each id, each value the largest seen; in id order, so that writers cannot deadlock."""
    newest: dict[Id, tuple[int, ...]] = {}
    for key, values in pairs:
        newest[key] = tuple(map(max, newest.get(key, values), values))
    return [(key, *newest[key]) for key in sorted(newest)]


def _transposed(rows: list[Row], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _sweep(sweep: Sweep) -> list[tuple[str, list[object]]]:
    match sweep:
        case AcknowledgeEntries(site_id, through, at):
            return [(_ACKNOWLEDGE, [at, site_id, through])]
        case QueueEntries(site_id, after):
            return [(_QUEUE_AGAIN, [site_id, after])]
        case RevokeTokensOf() | RevokeIssuedBy() | RevokeClientTokens():
            return [_revoking(sweep)]
        case ForgetRecordsBefore(before):
            return [(f"DELETE FROM {each}", [before]) for each in FORGOTTEN]
        case ForgetDeclaration(artifact_id):
            return [("DELETE FROM artifact_declarations WHERE artifact_id = %s", [artifact_id])]
        case LeaveOut(task_run_id, number, site_id, reason):
            return [(_LEAVE_OUT, [reason, task_run_id, number, site_id])]
        case MissReceipt(task_run_id, number, site_id, reason):
            return [(_MISS_RECEIPT, [reason, task_run_id, number, site_id])]
        case RedeliverFailed(webhook_id, since, at):
            return [(_REDELIVER_FAILED, [at, at, webhook_id, since])]
        case PlaceGone() | ForgetSecrets() | ForgetLogBefore():
            return [_sweep_of_a_project(sweep)]
        case ForgetBefore(commands_before, inbox_before):
            forget_logs: list[tuple[str, list[object]]] = [(sql, [inbox_before]) for sql in _FORGET_LOGS]
            return [
                ("DELETE FROM commands WHERE decided_at < %s", [commands_before]),
                ("DELETE FROM tokens WHERE kind <> 'token' AND expires_at < %s", [inbox_before]),
                ("DELETE FROM inbox WHERE state <> 'queued' AND state_at < %s", [inbox_before]),
                (_FORGET_MESSAGES, [inbox_before]),
                (_FORGET_TOLD, [inbox_before]),
                *_of_workloads(inbox_before),
                ("DELETE FROM webhook_deliveries WHERE state <> 'waiting' AND state_at < %s", [inbox_before]),
                *forget_logs,
            ]


def _sweep_of_a_project(sweep: PlaceGone | ForgetSecrets | ForgetLogBefore) -> tuple[str, list[object]]:
    match sweep:
        case PlaceGone(project_id, cluster, at):
            return _PLACE_GONE, [at, project_id, cluster]
        case ForgetSecrets(project_id):
            return "DELETE FROM project_secrets WHERE project_id = %s", [project_id]
        case ForgetLogBefore(workload_id, attempt, start):
            return _FORGET_LOG_BEFORE, [workload_id, attempt, start]


def _of_workloads(ended_before: Micros) -> list[tuple[str, list[object]]]:
    """What ended ones have left."""
    return [(sql, [ended_before]) for sql in _FORGET_OF_WORKLOADS]


def _revoking(sweep: RevokeTokensOf | RevokeIssuedBy | RevokeClientTokens) -> tuple[str, list[object]]:
    match sweep:
        case RevokeTokensOf(owner_id, at):
            return _REVOKE_TOKENS_OF, [at, owner_id]
        case RevokeIssuedBy(token_id, at):
            return _REVOKE_ISSUED_BY, [at, token_id]
        case RevokeClientTokens(project_id, None, at):
            return _REVOKE_CLIENT_TOKENS, [at, project_id]
        case RevokeClientTokens(project_id, site_id, at):
            return f"{_REVOKE_CLIENT_TOKENS} AND owner_id = %s", [at, project_id, site_id]


def _array(values: Sequence[Any], column: tuple[str, bool]) -> object:
    """A column as PostgreSQL's array text, which is made faster than psycopg2 adapts value by value."""
    match column[0]:
        case "bytes":
            return list(values)
        case "str":
            quoted = ("NULL" if v is None else _quoted(v) for v in values)
        case "Id":
            quoted = ("NULL" if v is None else v for v in values)
        case _:
            quoted = ("NULL" if v is None else str(v) for v in values)
    return "{" + ",".join(quoted) + "}"


def _quoted(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return '"' + text.replace('"', '\\"') + '"'


def _columns(kind: type[Record]) -> str:
    return ", ".join(COLUMNS[kind])


def _on_clash(kind: type[Record]) -> str:
    if kind in _ONCE:
        return ""
    moved = [name for name in COLUMNS[kind] if name not in kind.KEY]
    assignments = ", ".join(f"{name} = EXCLUDED.{name}" for name in moved)
    return f" ON CONFLICT ({', '.join(kind.KEY)}) DO UPDATE SET {assignments}"


def _postgres_write(kind: type[Record]) -> str:
    arrays = ", ".join(f"${place}" for place, _ in enumerate(_ARRAYS[kind], start=1))
    return f"INSERT INTO {kind.TABLE} ({_columns(kind)}) SELECT * FROM unnest({arrays}){_on_clash(kind)}"


def _sqlite_write(kind: type[Record]) -> str:
    marks = ", ".join("?" for _ in COLUMNS[kind])
    return f"INSERT INTO {kind.TABLE} ({_columns(kind)}) VALUES ({marks}){_on_clash(kind)}"


_ARRAYS = {kind: tuple(f"{_PG_TYPES[plain]}[]" for plain, _ in COLUMNS[kind].values()) for kind in r.RECORDS}
_POSTGRES = {kind: _postgres_write(kind) for kind in r.RECORDS}
_SQLITE = {kind: _sqlite_write(kind) for kind in r.RECORDS}
_OUTCOMES = f"SELECT {_columns(r.Outcome)} FROM commands WHERE id {{any:uuid}}"
_OUTBOX = f"SELECT {_columns(r.OutboxRow)} FROM outbox WHERE created_at < %s ORDER BY created_at LIMIT %s"

_REVOKED = (
    "UPDATE tokens SET revoked_at = %s WHERE revoked_at IS NULL AND id IN (WITH RECURSIVE gone(id) AS ("
    "SELECT id FROM tokens WHERE {first} = %s"
    " UNION SELECT issued.id FROM tokens issued JOIN gone ON issued.issued_by = gone.id) SELECT id FROM gone)"
)
_REVOKE_TOKENS_OF = _REVOKED.format(first="owner_id")
_REVOKE_ISSUED_BY = _REVOKED.format(first="issued_by")
_REVOKE_CLIENT_TOKENS = "UPDATE tokens SET revoked_at = %s WHERE revoked_at IS NULL AND project_id = %s"
_ACKNOWLEDGE = (
    "UPDATE inbox SET state = 'acknowledged', state_at = %s WHERE site_id = %s AND seq <= %s AND state = 'queued'"
)
_QUEUE_AGAIN = (
    "UPDATE inbox SET state = 'queued', state_at = NULL WHERE site_id = %s AND seq > %s AND state = 'acknowledged'"
)
_LEAVE_OUT = "UPDATE submissions SET left_out = %s WHERE task_run_id = %s AND round = %s AND site_id = %s"
_MISS_RECEIPT = "UPDATE submissions SET missing_receipt = %s WHERE task_run_id = %s AND round = %s AND site_id = %s"
_REDELIVER_FAILED = (
    "UPDATE webhook_deliveries SET state = 'waiting', state_at = %s, next_at = %s, failures = 0, reported = attempts"
    " WHERE webhook_id = %s AND created_at >= %s AND state = 'failed'"
)
_FORGET_MESSAGES = (
    "DELETE FROM messages WHERE sent_at < %s"
    " AND NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.message_id = messages.id)"
    " AND NOT EXISTS (SELECT 1 FROM rounds WHERE rounds.model_message_id = messages.id)"
)
_FORGET_TOLD = (
    "DELETE FROM told WHERE at < %s AND NOT EXISTS"
    " (SELECT 1 FROM inbox WHERE inbox.site_id = told.site_id AND inbox.seq = told.seq AND inbox.state = 'queued')"
)
_PLACE_GONE = "UPDATE workloads SET place_gone_at = %s WHERE project_id = %s AND cluster = %s AND place_gone_at IS NULL"
_FORGET_LOG_BEFORE = "DELETE FROM workload_log_pieces WHERE workload_id = %s AND attempt = %s AND start < %s"
_FORGET_OF_WORKLOADS = tuple(
    f"DELETE FROM {table} WHERE workload_id IN (SELECT id FROM workloads WHERE ended_at < %s)"
    for table in ("workload_evidence", "workload_log_pieces", "workload_log_heads", "workload_follows")
)
_FORGET_LOGS = tuple(
    f"DELETE FROM {table} WHERE run_id IN"
    " (SELECT log_heads.run_id FROM log_heads JOIN runs ON runs.id = log_heads.run_id WHERE runs.ended_at < %s)"
    for table in ("log_pieces", "site_logs", "log_heads")
)
_BEATS_POSTGRES = (
    "INSERT INTO site_beats (site_id, seen_at, handed_out)"
    " SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[])"
    " ON CONFLICT (site_id) DO UPDATE SET seen_at = greatest(site_beats.seen_at, EXCLUDED.seen_at),"
    " handed_out = greatest(site_beats.handed_out, EXCLUDED.handed_out)"
)
_BEATS_SQLITE = (
    "INSERT INTO site_beats (site_id, seen_at, handed_out) VALUES (?, ?, ?)"
    " ON CONFLICT (site_id) DO UPDATE SET seen_at = max(site_beats.seen_at, EXCLUDED.seen_at),"
    " handed_out = max(site_beats.handed_out, EXCLUDED.handed_out)"
)
_VERSION_IS_NEWER = (
    " ON CONFLICT (site_id) DO UPDATE SET version = EXCLUDED.version, said_at = EXCLUDED.said_at"
    " WHERE EXCLUDED.said_at >= site_agents.said_at"
)
_VERSIONS_POSTGRES = (
    "INSERT INTO site_agents (site_id, version, said_at)"
    f" SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bigint[]){_VERSION_IS_NEWER}"
)
_VERSIONS_SQLITE = f"INSERT INTO site_agents (site_id, version, said_at) VALUES (?, ?, ?){_VERSION_IS_NEWER}"
_USES_POSTGRES = (
    "INSERT INTO token_uses (token_id, used_at) SELECT * FROM unnest(%s::uuid[], %s::bigint[])"
    " ON CONFLICT (token_id) DO UPDATE SET used_at = greatest(token_uses.used_at, EXCLUDED.used_at)"
)
_USES_SQLITE = (
    "INSERT INTO token_uses (token_id, used_at) VALUES (?, ?)"
    " ON CONFLICT (token_id) DO UPDATE SET used_at = max(token_uses.used_at, EXCLUDED.used_at)"
)
